"""A sample as a training sees it, and as it was annotated: what :mod:`portbev.viz.browse` shows.

A kind of data offers it as :attr:`portbev.data.DataKind.browse`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from portbev.viz import palette
from portbev.viz.canvas import Canvas, Image, write
from portbev.viz.page import FOOT, GAP, HEAD, MARGIN, Text, class_marks, dashed_mark, framed, heading
from portbev.viz.scene import Objects, View
from portbev.viz.surround import panels

LINE = 19  # pixels
_SIZE = 13.0


@dataclass(frozen=True)
class Seen:
    """One look at a sample.

    Attributes:
        name: ``as annotated``, or :func:`look_name`.
        image: (H, W, 3) RGB.
        said: what was drawn at random, and what else there is to know, a line each.
    """

    name: str
    image: Image
    said: tuple[str, ...]


def counted_as(part: str) -> str:
    """What the boxes of a split are to a run that opens it as ``train`` or ``eval``."""
    return "trained on" if part == "train" else "counted"


def look_name(part: str, epoch: int) -> str:
    """What a look at a sample is called: its epoch, where it is trained on."""
    return f"epoch {epoch}" if part == "train" else "as evaluated"


class Browser(Protocol):
    """Looks at the samples of an opened data set, by their index in it."""

    def scene(self, index: int) -> str:
        """Where the sample belongs: its scene or recording; empty if there is no such thing."""
        ...

    def annotated(self, index: int) -> Seen:
        """The recorded sample with its annotations. Raises DataError for a file that is missing or damaged."""
        ...

    def seen(self, index: int, epoch: int) -> Seen:
        """What the model gets in ``epoch``: made of the sample's own arrays and matrices, not computed anew."""
        ...


@dataclass(frozen=True)
class Strip:
    """Pictures (h, w, 3) RGB of the same size below the others, with a text each."""

    pictures: tuple[Image, ...]
    texts: tuple[str, ...]


def draw_seen(
    view: View, *, title: str, subtitle: str, strips: Sequence[Strip] = (), counts: str = "trained on"
) -> Image:
    """A look at a sample of a vehicle with cameras around it.

    The view's ``predictions`` are the boxes that are trained on, in their classes' colours; its ``truth``, dashed, are
    other annotations. ``counts`` says what the first are: trained on, or counted.
    """
    body, texts = panels(view, view.predictions)
    return finished(
        body,
        texts,
        title=title,
        subtitle=subtitle,
        learnt=view.predictions,
        others=view.truth,
        classes=view.classes,
        strips=strips,
        counts=counts,
    )


def finished(
    body: Image,
    texts: Sequence[Text],
    *,
    title: str,
    subtitle: str,
    learnt: Objects,
    others: Objects,
    classes: palette.Classes,
    strips: Sequence[Strip] = (),
    counts: str = "trained on",
) -> Image:
    """A page of ``body`` with its texts, strips of pictures below it, a heading and a legend."""
    texts = list(texts)
    for strip in strips:
        below, said = _strip(strip, body.shape[1], body.shape[0] + GAP)
        body = np.concatenate([body, np.full((GAP, body.shape[1], 3), palette.PAGE, np.uint8), below])
        texts += said
    page = framed(body)
    height, width = page.shape[:2]
    texts += heading(title, subtitle, width)
    canvas = Canvas(np.ascontiguousarray(page[height - FOOT :]), (width, FOOT))
    line = height - FOOT / 2
    texts += class_marks(canvas, line, sorted({*learnt.labels.tolist()}), classes)
    number = f"{len(learnt)} boxes {counts}"
    if len(others):
        texts += dashed_mark(canvas, line, f"annotated, not {counts}", f"{number}, {len(others)} not")
    else:
        texts.append((width - MARGIN, line, number, palette.SOFT, _SIZE, "rm"))
    page[height - FOOT :] = canvas.finish()
    return write(page, texts)


def _strip(strip: Strip, width: int, top: int) -> tuple[Image, list[Text]]:
    """The pictures in a row of ``width`` pixels, and their texts on a page where the row begins at ``top``."""
    count = len(strip.pictures)
    each = (width - (count - 1) * GAP) // count
    high, wide = strip.pictures[0].shape[:2]
    each = min(each, 2 * wide)
    height = max(1, round(high * each / wide))
    row = np.full((height, width, 3), palette.PAGE, np.uint8)
    texts: list[Text] = []
    for number, (picture, text) in enumerate(zip(strip.pictures, strip.texts, strict=True)):
        u = number * (each + GAP)
        shrink = each < wide
        row[:, u : u + each] = cv2.resize(
            picture, (each, height), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
        )
        for du, colour in ((1, palette.SHADOW), (0, palette.TEXT)):
            texts.append((MARGIN + u + 6 + du, HEAD + top + 5 + du, text, colour, 11.0, "la"))
    return row, texts


def with_lines(image: Image, said: Sequence[str]) -> Image:
    """The picture with lines of text below it, folded where they are too long."""
    width = image.shape[1]
    lines = [line for text in said for line in _folded(text, width - 2 * MARGIN)]
    foot = np.full((len(lines) * LINE + (MARGIN if lines else 0), width, 3), palette.PAGE, np.uint8)
    texts: list[Text] = [
        (MARGIN, image.shape[0] + LINE * (number + 0.5), line, palette.SOFT, _SIZE, "lm")
        for number, line in enumerate(lines)
    ]
    return write(np.concatenate([image, foot]), texts)


def _folded(text: str, width: float) -> list[str]:
    from portbev.viz.canvas import font

    lines, line = list[str](), ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and font(_SIZE).getlength(longer) > width:
            lines.append(line)
            line = f"    {word}"
        else:
            line = longer
    return [*lines, line]
