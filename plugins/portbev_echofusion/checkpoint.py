"""The names of our keys in checkpoints of the original implementation.

The original's names are known for the model of range-time maps and images alone. The layers that only other variants
have (range transform, layer normalisation, pillars) keep our names.
"""

from __future__ import annotations

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

official_name = _NAMES.official_name
import_state = _NAMES.import_state
export_state = _NAMES.export_state
