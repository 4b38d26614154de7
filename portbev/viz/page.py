"""The page around the panels: a title above and a legend below them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.viz import palette
from portbev.viz.canvas import Canvas, Image, font
from portbev.viz.clip import dashes
from portbev.viz.scene import Objects

GAP, MARGIN, HEAD, FOOT = 8, 16, 44, 40  # pixels
Text = tuple[float, float, str, palette.Colour, float, str]
"""u, v, text, colour, size in pixels, anchor."""


def heading(title: str, subtitle: str, width: int) -> list[Text]:
    """``title`` on the left and ``subtitle`` on the right, at the top of a page of ``width`` pixels."""
    return [
        (MARGIN, HEAD / 2, title, palette.TEXT, 17.0, "lm"),
        (width - MARGIN, HEAD / 2, subtitle, palette.SOFT, 13.0, "rm"),
    ]


def legend(
    page: Image, truth: Objects, labels: NDArray[np.int64], score: float, classes: palette.Classes
) -> tuple[Image, list[Text]]:
    """Draw the legend at the bottom of ``page``: colours of the classes in the picture, annotations and counts.

    Args:
        labels: of the predictions that are drawn.
        score: lowest score of the predictions that are drawn.

    Returns:
        The page with the legend's symbols, and the legend's texts, which are not drawn yet.
    """
    height, width = page.shape[:2]
    strip = Canvas(np.ascontiguousarray(page[height - FOOT :]), (width, FOOT))
    middle = FOOT / 2
    texts: list[Text] = []
    u = float(MARGIN)
    present = sorted({*labels.tolist(), *truth.labels.tolist()})
    for label in present:
        name = classes.names[label]
        square = np.array([[u, middle - 6], [u + 12, middle - 6], [u + 12, middle + 6], [u, middle + 6]])
        strip.face(square, classes.colours[label], 1.0)
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
