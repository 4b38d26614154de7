"""Pictures of detections: boxes in the six cameras and from above. May import: data, boxes, geometry, metrics, errors.

>>> from portbev.viz import draw_view, open_views
>>> views = open_views("runs/cpu", data_root="data/nuscenes")
>>> picture = draw_view(views.view(views.tokens[0]), title="cpu")  # (H, W, 3) uint8
"""

from portbev.viz.compose import draw_view
from portbev.viz.views import View, Views, open_views

__all__ = ["View", "Views", "draw_view", "open_views"]
