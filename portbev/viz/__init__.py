"""Pictures of detections: boxes in the camera pictures and in the bird's-eye view.

>>> from portbev.viz import open_views
>>> views = open_views("runs/cpu", data_root="data/mine")
>>> name, picture = views.draw(views.tokens[0], score=0.3)  # (H, W, 3) uint8
"""

from portbev.viz.palette import Classes
from portbev.viz.scene import View
from portbev.viz.surround import draw_view
from portbev.viz.views import Views, open_views

__all__ = ["Classes", "View", "Views", "draw_view", "open_views"]
