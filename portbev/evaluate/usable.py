"""Which detections can be scored: the one rule of all benchmarks for boxes that mean nothing and for too many boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from portbev.boxes import BOX_FIELDS

if TYPE_CHECKING:
    from portbev.models import Detections

NOT_FINITE = "that are not finite"
NO_EXTENT = "without extent"

LEFT_OUT = "left_out"
"""Key of an encoded sample: why boxes of it were left out -> how many. Absent where none was."""


def usable(found: Detections, *, limit: int | None = None) -> tuple[Detections, dict[str, int]]:
    """The detections that can be scored, in their order, and why others are left out.

    Left out are boxes with a NaN or infinity anywhere or in the score (a size that overflowed), boxes with a size that
    is not positive (one that underflowed), and, of what remains, the lowest scores beyond ``limit``.

    Args:
        limit: boxes that a sample may have. Of equal scores the first ones stay.

    Returns:
        The detections, the same object if all can be scored; and reason -> number of boxes, without zeros.
    """
    boxes = np.asarray(found.boxes).reshape(-1, len(BOX_FIELDS))
    scores = np.asarray(found.scores)
    finite = np.isfinite(boxes).all(1) & np.isfinite(scores)
    solid = (boxes[:, 3:6] > 0).all(1)
    kept = np.flatnonzero(finite & solid)
    left = {NOT_FINITE: int((~finite).sum()), NO_EXTENT: int((finite & ~solid).sum())}
    if limit is not None and len(kept) > limit:
        left[_over(limit)] = len(kept) - limit
        kept = np.sort(kept[np.argsort(-scores[kept], kind="stable")[:limit]])
    if len(kept) == len(boxes):
        return found, {}
    part = type(found)(boxes[kept], scores[kept], np.asarray(found.labels)[kept])
    return part, {reason: count for reason, count in left.items() if count}


def left_out_notes(samples: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the encoded samples say of boxes that were left out, a line for each reason."""
    boxes: Counter[str] = Counter()
    affected: Counter[str] = Counter()
    for sample in samples:
        boxes.update(sample.get(LEFT_OUT, {}))
        affected.update(sample.get(LEFT_OUT, {}).keys())
    return [
        f"{count} predicted boxes {reason} are left out, in {affected[reason]} samples"
        for reason, count in boxes.items()
    ]


def _over(limit: int) -> str:
    return f"beyond the {limit} best of a sample"
