"""One picture per nuScenes sample: six cameras as the car sees them, and the view from above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.viz import palette
from portbev.viz.bev import draw_bev
from portbev.viz.camera import draw_camera
from portbev.viz.canvas import Canvas, Image, font, write
from portbev.viz.clip import dashes
from portbev.viz.scene import CAMERAS, Objects, View
from portbev_nuscenes.classes import DETECTION_CLASSES

PANEL_WIDTH = 560
GAP, MARGIN, HEAD, FOOT = 8, 16, 44, 40
Text = tuple[float, float, str, palette.Colour, float, str]


def draw_view(view: View, *, title: str = "", score: float = 0.3) -> Image:
    """The sample as one picture (H, W, 3) RGB.

    Args:
        title: stands above the picture, for example the run's label.
        score: predictions below it are left out.
    """
    found = view.found.above(score)
    height = _panel_height(view)
    side = 2 * height + GAP
    width = 2 * MARGIN + 3 * (PANEL_WIDTH + GAP) + side
    page = np.full((HEAD + side + FOOT, width, 3), palette.PAGE, np.uint8)
    texts: list[Text] = []
    for row, channels in enumerate(CAMERAS):
        for column, channel in enumerate(channels):
            u, v = MARGIN + column * (PANEL_WIDTH + GAP), HEAD + row * (height + GAP)
            camera = view.cameras.get(channel)
            if camera is not None:
                drawn = draw_camera(camera, view.truth, found, PANEL_WIDTH)[:height]
                page[v : v + len(drawn), u : u + PANEL_WIDTH] = drawn
            name = channel.removeprefix("CAM_").replace("_", " ").lower()
            texts += _shaded(u + 10, v + 8, name)
    left = MARGIN + 3 * (PANEL_WIDTH + GAP)
    page[HEAD : HEAD + side, left : left + side] = draw_bev(view, view.truth, found, side)
    texts += _head(view, title, width)
    page, below = legend(page, view.truth, found.labels, score)
    return write(page, texts + below)


def _panel_height(view: View) -> int:
    shapes = [camera.image.shape for camera in view.cameras.values()]
    high, wide = shapes[0][:2] if shapes else (9, 16)
    return round(PANEL_WIDTH * high / wide)


def _head(view: View, title: str, width: int) -> list[Text]:
    place = f"{view.scene}   sample {view.token}"
    return [
        (MARGIN, HEAD / 2, title, palette.TEXT, 17.0, "lm"),
        (width - MARGIN, HEAD / 2, place, palette.SOFT, 13.0, "rm"),
    ]


def _shaded(u: float, v: float, text: str) -> list[Text]:
    dark = [(u + du, v + dv, text, palette.SHADOW, 13.0, "la") for du, dv in ((1, 1), (0, 1), (1, 0), (-1, 0), (0, -1))]
    return [*dark, (u, v, text, palette.TEXT, 13.0, "la")]


def legend(page: Image, truth: Objects, labels: NDArray[np.int64], score: float) -> tuple[Image, list[Text]]:
    """Colours of the classes in the picture, and how annotations look, in the strip below."""
    height, width = page.shape[:2]
    strip = Canvas(np.ascontiguousarray(page[height - FOOT :]), (width, FOOT))
    middle = FOOT / 2
    texts: list[Text] = []
    u = float(MARGIN)
    present = sorted({*labels.tolist(), *truth.labels.tolist()})
    for label in present:
        name = DETECTION_CLASSES[label]
        square = np.array([[u, middle - 6], [u + 12, middle - 6], [u + 12, middle + 6], [u, middle + 6]])
        strip.face(square, palette.CLASS_COLOURS[name], 1.0)
        text = name.replace("_", " ")
        texts.append((u + 19, height - middle, text, palette.TEXT, 13.0, "lm"))
        u += 19 + font(13.0).getlength(text) + 24
    counts = f"{len(labels)} predictions with score \N{GREATER-THAN OR EQUAL TO} {score:g}, {len(truth)} annotations"
    right = width - MARGIN
    texts.append((right, height - middle, counts, palette.SOFT, 13.0, "rm"))
    right -= font(13.0).getlength(counts) + 28
    texts.append((right, height - middle, "annotation", palette.TEXT, 13.0, "rm"))
    right -= font(13.0).getlength("annotation") + 8
    strip.lines(dashes(np.array([[[right - 26, middle], [right, middle]]]), 5, 3), palette.TRUTH, 1.2)
    page = page.copy()
    page[height - FOOT :] = strip.finish()
    return page, texts
