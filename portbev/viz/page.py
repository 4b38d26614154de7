"""The page around the panels: a title above and a legend below them."""

from __future__ import annotations

from collections.abc import Sequence

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


def framed(body: Image) -> Image:
    """A page with ``body`` on it, with room for a heading above, for a legend below, and margins."""
    height, width = body.shape[:2]
    page = np.full((HEAD + height + FOOT, width + 2 * MARGIN, 3), palette.PAGE, np.uint8)
    page[HEAD : HEAD + height, MARGIN : MARGIN + width] = body
    return page


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
    texts = class_marks(strip, height - middle, sorted({*labels.tolist(), *truth.labels.tolist()}), classes)
    counts = f"{len(labels)} predictions with score \N{GREATER-THAN OR EQUAL TO} {score:g}, {len(truth)} annotations"
    texts += dashed_mark(strip, height - middle, "annotation", counts)
    page = page.copy()
    page[height - FOOT :] = strip.finish()
    return page, texts


def class_marks(strip: Canvas, line: float, present: Sequence[int], classes: palette.Classes) -> list[Text]:
    """Draw a square in each class's colour in the middle of ``strip``; returns the names, at height ``line``."""
    middle, u = strip.height / 2, float(MARGIN)
    texts: list[Text] = []
    for label in present:
        square = np.array([[u, middle - 6], [u + 12, middle - 6], [u + 12, middle + 6], [u, middle + 6]])
        strip.face(square, classes.colours[label], 1.0)
        text = classes.names[label].replace("_", " ")
        texts.append((u + 19, line, text, palette.TEXT, 13.0, "lm"))
        u += 19 + font(13.0).getlength(text) + 24
    return texts


def dashed_mark(strip: Canvas, line: float, what: str, counts: str) -> list[Text]:
    """Draw a dashed line at the right of ``strip``; returns what it means, and ``counts`` behind it."""
    middle, right = strip.height / 2, float(strip.width - MARGIN)
    texts: list[Text] = [(right, line, counts, palette.SOFT, 13.0, "rm")]
    right -= font(13.0).getlength(counts) + 28
    texts.append((right, line, what, palette.TEXT, 13.0, "rm"))
    right -= font(13.0).getlength(what) + 8
    strip.lines(dashes(np.array([[[right - 26, middle], [right, middle]]]), 5, 3), palette.TRUTH, 1.2)
    return texts
