"""A picture of one sample of a vehicle with cameras around it: the cameras in rows, and the bird's-eye view."""

from __future__ import annotations

import numpy as np

from portbev.viz import palette
from portbev.viz.bev import draw_bev
from portbev.viz.camera import draw_camera
from portbev.viz.canvas import Image, write
from portbev.viz.page import GAP, HEAD, MARGIN, Text, framed, heading, legend
from portbev.viz.scene import Objects, View

PANEL_WIDTH = 560  # pixels


def draw_view(view: View, *, title: str = "", score: float = 0.3) -> Image:
    """The sample as one picture (H, W, 3) RGB.

    Args:
        title: text above the picture, for example the run's label.
        score: predictions with a lower score are not drawn.
    """
    predictions = view.predictions.above(score)
    body, texts = panels(view, predictions)
    page = framed(body)
    texts = [*texts, *heading(title, f"{view.scene}   sample {view.token}", page.shape[1])]
    page, legend_texts = legend(page, view.truth, predictions.labels, score, view.classes)
    return write(page, texts + legend_texts)


def panels(view: View, predictions: Objects) -> tuple[Image, list[Text]]:
    """The cameras in rows with the bird's-eye view beside them, and the texts that belong on a page that is
    :func:`portbev.viz.page.framed` around them.
    """
    rows, columns = len(view.layout), max(map(len, view.layout))
    height = _panel_height(view)
    side = rows * (height + GAP) - GAP
    left = columns * (PANEL_WIDTH + GAP)
    body = np.full((side, left + side, 3), palette.PAGE, np.uint8)
    texts: list[Text] = []
    for row, channels in enumerate(view.layout):
        for column, channel in enumerate(channels):
            u, v = column * (PANEL_WIDTH + GAP), row * (height + GAP)
            camera = view.cameras.get(channel)
            if camera is not None:
                drawn = draw_camera(camera, view.truth, predictions, PANEL_WIDTH, view.classes.colours)[:height]
                body[v : v + len(drawn), u : u + PANEL_WIDTH] = drawn
            name = channel.removeprefix("CAM_").replace("_", " ").lower()
            texts += _shaded(MARGIN + u + 10, HEAD + v + 8, name)
    body[:, left:] = draw_bev(view, view.truth, predictions, side)
    return body, texts


def _panel_height(view: View) -> int:
    """Height of a camera's panel, in the aspect ratio of the first camera."""
    shapes = [camera.image.shape for camera in view.cameras.values()]
    height, width = shapes[0][:2] if shapes else (9, 16)
    return round(PANEL_WIDTH * height / width)


def _shaded(u: float, v: float, text: str) -> list[Text]:
    """``text`` with a dark outline."""
    shadow = [
        (u + du, v + dv, text, palette.SHADOW, 13.0, "la") for du, dv in ((1, 1), (0, 1), (1, 0), (-1, 0), (0, -1))
    ]
    return [*shadow, (u, v, text, palette.TEXT, 13.0, "la")]
