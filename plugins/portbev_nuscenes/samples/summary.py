"""What is learnt from a split, in numbers: boxes and why some are left out, and how pictures fill the input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from portbev.data import BoxCounts, Summary
from portbev_nuscenes.classes import DETECTION_CLASSES, Categories
from portbev_nuscenes.config import ImageAug
from portbev_nuscenes.samples.augment import middle_image
from portbev_nuscenes.tables.index import Index

Rows = NDArray[np.int64]

BLACK_IN_TRAINING, FULL_IN_EVALUATION = 0.5, 0.25
"""Shares of a picture that is padding: more than the first in training and less than the second in evaluation cannot be
meant."""

CURES = {
    "of an unknown category": "data.categories maps categories to classes",
    "of an ignored category": "data.categories can map ignored categories too",
    "without enough lidar or radar points": "data.min_points=0 keeps boxes without points",
    "outside the range": "widen data.point_cloud_range and the model's with it",
}
"""Why a box is left out -> what keeps it."""


def of_boxes(
    index: Index,
    samples: Rows,
    labels: Rows,
    counted: NDArray[np.bool_],
    categories: Categories,
    in_range: Callable[[Rows], NDArray[np.bool_]],
) -> Summary:
    """Boxes of the samples by class, and the others by the reason for which they are left out.

    Args:
        index: the version's index.
        samples: rows of the samples.
        labels: label of each category, -1 for one without a class.
        counted: (G,) whether each box has enough points.
        categories: tells categories that are left out on purpose from unknown ones.
        in_range: (n,) whether the boxes of n rows of the index are in the range that is trained on.
    """
    rows = index.boxes_of(samples)
    label = labels[index.box_category[rows]]
    on_purpose = np.array([categories.is_ignored(name.decode()) for name in index.categories], bool)
    ignored = (label < 0) & (on_purpose[index.box_category[rows]] if len(rows) else False)
    near, seen = in_range(rows), counted[rows]
    reasons = zip(
        CURES, ((label < 0) & ~ignored, ignored, (label >= 0) & ~seen, (label >= 0) & seen & ~near), strict=True
    )
    kept = (label >= 0) & seen & near
    boxes = {
        name: BoxCounts(read=int((label == number).sum()), kept=int((label[kept] == number).sum()))
        for number, name in enumerate(DETECTION_CLASSES)
    }
    dropped = {reason: int(which.sum()) for reason, which in reasons if which.any()}
    return Summary(samples=len(samples), boxes=boxes, dropped=dropped)


def padding(section: ImageAug) -> tuple[float, float]:
    """Share of the network's input that no pixel of the picture falls on, in training (mean) and in evaluation.

    Rotations are left out: they blacken corners alone.
    """
    training = np.mean([_uncovered(section, resize) for resize in np.linspace(*section.resize, 9)])
    return float(training), _uncovered(section, middle_image(section).resize)


def fitting_resize(section: ImageAug) -> tuple[float, float]:
    """The range of ``data.image.resize`` that stands to these sizes as the original's range stands to its own."""
    (height, width), (final_height, final_width) = section.source_size, section.final_size
    filling = max(final_height / height, final_width / width)
    return round(filling * 0.386 / 0.44, 3), round(filling * 0.55 / 0.44, 3)


def repeated_history(index: Index, samples: Rows, steps: list[int]) -> float | None:
    """Share of the history frames, ``steps`` before each sample, that its scene does not reach back to."""
    missing = [absent(index, samples, step).mean() for step in steps if step > 0]
    return float(np.mean(missing)) if missing else None


def absent(index: Index, samples: Rows, step: int) -> NDArray[np.bool_]:
    """(n,) whether a sample's scene has no key frame ``step`` before it."""
    before = np.maximum(samples - step, 0)
    return (samples < step) | (index.sample_scene[before] != index.sample_scene[samples])


def _uncovered(section: ImageAug, resize: float) -> float:
    (height, width), (final_height, final_width) = section.source_size, section.final_size
    new_height, new_width = int(height * resize + 1e-6), int(width * resize + 1e-6)
    top = int((1 - float(np.mean(section.bottom_crop))) * new_height) - final_height
    rows = min(new_height, top + final_height) - max(0, top)
    return 1.0 - max(0, rows) * min(new_width, final_width) / (final_height * final_width)
