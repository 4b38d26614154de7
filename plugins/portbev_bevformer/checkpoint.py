"""Checkpoints of the original implementation, by key name. May import: torch, portbev.errors, portbev.models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from portbev.models import Imported
from portbev.nn.pretrained import fit_state

# our prefix -> the original's; the first that fits counts
_PREFIXES = (
    (r"^features\.", "pts_bbox_head.transformer."),
    (r"^bev_queries\.embedding\.", "pts_bbox_head.bev_embedding."),
    (r"^bev_queries\.(row|col)_embed\.", r"pts_bbox_head.positional_encoding.\1_embed."),
    (r"^bev_queries\.can_bus_mlp\.", "pts_bbox_head.transformer.can_bus_mlp."),
    (r"^object_queries\.embedding\.", "pts_bbox_head.query_embedding."),
    (r"^object_queries\.reference_points\.", "pts_bbox_head.transformer.reference_points."),
    (r"^(encoder|decoder)\.", r"pts_bbox_head.transformer.\1."),
    (r"^head\.", "pts_bbox_head."),
)
_INNER = (
    (r"\.temporal\.", ".attentions.0."),
    (r"\.spatial\.", ".attentions.1."),
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
