"""Checkpoints of the original implementation, by key name.

The names of the variants' own layers (range transform, layer normalisation, pillars) are ours: those of the original
are known for range-time maps with images alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from portbev.models import Imported
from portbev.nn.key_names import TRANSFORMER_LAYERS, KeyNames

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
_LAYERS = (
    (r"\.attention\.", ".attentions.0."),
    *TRANSFORMER_LAYERS,
)
_NAMES = KeyNames(_PREFIXES, _LAYERS)

official_name = _NAMES.official
export_state = _NAMES.export


def import_state(checkpoint: Mapping[str, Any], model: nn.Module) -> Imported:
    """Weights of an official checkpoint for ``model``; see :meth:`portbev.nn.key_names.KeyNames.fit`."""
    return Imported(*_NAMES.fit(checkpoint, model))
