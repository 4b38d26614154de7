"""Checkpoints of the original implementation, by key name. May import: torch, portbev.errors, portbev.models.

The names of the variants' own layers (range transform, layer normalisation, pillars) are ours: those of the original
are known for range-time maps with images alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from portbev.models import Imported
from portbev.nn.pretrained import fit_state

# our prefix -> the original's; the first that fits counts
_PREFIXES = (
    (r"^radar\.embedder\.", "radar_embedder."),
    (r"^radar\.range_embedder\.", "range_embedder."),
    (r"^radar_(backbone|neck)\.", r"pts_\1."),
    (r"^img_neck\.columns\.", "img_neck.transformer_layers."),
    (r"^img_neck\.rows\.", "img_neck.radar_transformer_layers."),
    (r"^queries\.embedding\.", "pts_bbox_head.query_embedding."),
    (r"^queries\.reference_points\.", "pts_bbox_head.transformer.reference_points."),
    (r"^encoder\.level_embeds$", "pts_bbox_head.transformer.level_embeds"),
    (r"^(encoder|decoder)\.", r"pts_bbox_head.transformer.\1."),
    (r"^head\.", "pts_bbox_head."),
)
_INNER = (
    (r"\.attention\.", ".attentions.0."),
    (r"\.self_attention\.", ".attentions.0.attn."),
    (r"\.cross_attention\.", ".attentions.1."),
    (r"\.feed_forward\.", ".ffns.0."),
)
WRAPPERS = ("module.", "model.")
"""What containers put before the names."""


def official_name(key: str) -> str:
    """The original's name of one of our keys."""
    if key.startswith(("encoder.", "decoder.")):
        for pattern, replacement in _INNER:
            key = re.sub(pattern, replacement, key, count=1)
    for pattern, replacement in _PREFIXES:
        renamed, count = re.subn(pattern, replacement, key, count=1)
        if count:
            return renamed
    return key


def import_state(checkpoint: Mapping[str, Any], model: nn.Module) -> Imported:
    """Weights of an official checkpoint (or of one written by :func:`export_state`) for ``model``.

    Taken are a mapping with ``state_dict`` or the weights alone, with or without ``module.``; where an average of the
    weights is there too, it is what is read (see :func:`portbev.nn.pretrained.fit_state`). Optimizer state is left.

    Raises:
        CheckpointError: no weights in it; missing, unexpected or misshaped keys, listed.
    """
    names = {official_name(key): key for key in model.state_dict()}
    state, notes = fit_state(checkpoint, model, names=names, wrappers=WRAPPERS)
    return Imported(state, notes)


def export_state(model: nn.Module) -> dict[str, dict[str, Tensor]]:
    """A checkpoint that the original implementation's loaders understand."""
    return {"state_dict": {official_name(key): value.detach().cpu() for key, value in model.state_dict().items()}}
