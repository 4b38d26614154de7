"""Checkpoints of the original implementation, by key name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from portbev.models import Imported
from portbev.nn.key_names import TRANSFORMER_LAYERS, KeyNames

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
_LAYERS = (
    (r"\.temporal\.", ".attentions.0."),
    (r"\.spatial\.", ".attentions.1."),
    *TRANSFORMER_LAYERS,
)
_NAMES = KeyNames(_PREFIXES, _LAYERS)

official_name = _NAMES.official
export_state = _NAMES.export


def import_state(checkpoint: Mapping[str, Any], model: nn.Module) -> Imported:
    """Weights of an official checkpoint for ``model``; see :meth:`portbev.nn.key_names.KeyNames.fit`."""
    return Imported(*_NAMES.fit(checkpoint, model))
