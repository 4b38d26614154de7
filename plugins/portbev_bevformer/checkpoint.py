"""The names of our keys in checkpoints of the original implementation."""

from __future__ import annotations

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

official_name = _NAMES.official_name
import_state = _NAMES.import_state
export_state = _NAMES.export_state
