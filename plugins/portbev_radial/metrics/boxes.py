"""Boxes of many frames as arrays.

A row is [x y z_bottom dx dy dz yaw], followed by the score for a prediction, in the radar's frame: x forward, y left,
z up [m]. z is that of the bottom face, unlike in portbev's other boxes; dx is along the heading; yaw [rad] turns from x
to y.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from portbev.errors import ResultsError
from portbev_radial.metrics.constants import PREDICTION_COLUMNS, TRUTH_COLUMNS

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class FrameBoxes:
    """Boxes of several frames, concatenated.

    Attributes:
        frames: names of the frames, which are unique.
        rows: (N, 8) predictions or (N, 7) ground truth, float64.
        counts: (F,) boxes of each frame.

    Raises:
        ResultsError: a repeated frame, a wrong shape, a number that is not finite, a size below zero; names the frame.
    """

    frames: tuple[str, ...]
    rows: Array
    counts: Integers

    def __post_init__(self) -> None:
        repeated = _first_repeated(self.frames)
        if repeated is not None:
            raise ResultsError("appears twice", where=f"frame {repeated}")
        if self.rows.ndim != 2 or self.rows.shape[1] not in (len(TRUTH_COLUMNS), len(PREDICTION_COLUMNS)):
            message = f"boxes of shape {self.rows.shape}, expected (n, 8) for predictions or (n, 7) for ground truth"
            raise ResultsError(message)
        if len(self.counts) != len(self.frames) or self.counts.sum() != len(self.rows):
            raise ResultsError(f"{len(self.counts)} counts of boxes for {len(self.frames)} frames do not add up")
        self._check_numbers()

    @property
    def scored(self) -> bool:
        """True for predictions."""
        return self.rows.shape[1] == len(PREDICTION_COLUMNS)

    @property
    def frame_index(self) -> Integers:
        """(N,) position in ``frames`` of each box."""
        return np.repeat(np.arange(len(self.frames)), self.counts)

    def arrays(self) -> list[Array]:
        """The boxes of each frame."""
        return np.split(self.rows, np.cumsum(self.counts)[:-1]) if self.frames else []

    def select(self, frames: Sequence[str]) -> FrameBoxes:
        """The boxes of these frames, in this order.

        Raises:
            ResultsError: a frame that is not there.
        """
        boxes_by_frame = dict(zip(self.frames, self.arrays(), strict=True))
        missing = [name for name in frames if name not in boxes_by_frame]
        if missing:
            raise ResultsError(f"{len(missing)} frames are missing", where=f"frame {missing[0]}")
        return _stack([boxes_by_frame[name] for name in frames], tuple(frames), self.rows.shape[1])

    def _check_numbers(self) -> None:
        not_finite = np.flatnonzero(~np.isfinite(self.rows).all(1))
        if len(not_finite):
            raise self._fault(
                int(not_finite[0]), "is not finite", "Find out where the model's NaN or infinity comes from"
            )
        negative = np.flatnonzero((self.rows[:, 3:6] < 0).any(1))
        if len(negative):
            raise self._fault(int(negative[0]), "has a size below zero", "Sizes are full extents in metres")

    def _fault(self, row: int, message: str, cure: str) -> ResultsError:
        frame = int(self.frame_index[row])
        box = row - int(self.counts[:frame].sum())
        values = ", ".join(f"{value:g}" for value in self.rows[row])
        return ResultsError(f"[{values}] {message}", where=f"frame {self.frames[frame]}, box {box}", cure=cure)


def frame_boxes(arrays: Iterable[ArrayLike], frames: Sequence[str] | None = None, *, scored: bool) -> FrameBoxes:
    """Boxes of several frames, given as one array per frame.

    Args:
        arrays: (n, 8) predictions or (n, 7) ground truth per frame; an empty one may have any shape.
        frames: their names; by default their positions, as six digits.
        scored: True for predictions.

    Raises:
        ResultsError: as :class:`FrameBoxes`.
    """
    columns = PREDICTION_COLUMNS if scored else TRUTH_COLUMNS
    per_frame = list(arrays)
    names = tuple(frames) if frames is not None else tuple(f"{index:06d}" for index in range(len(per_frame)))
    if len(names) != len(per_frame):
        raise ResultsError(f"boxes of {len(per_frame)} frames, but {len(names)} names of frames")
    parts = []
    for name, array in zip(names, per_frame, strict=True):
        try:
            part = np.asarray(array, np.float64)
        except (TypeError, ValueError) as error:
            raise ResultsError(f"boxes that are no table of numbers ({error})", where=f"frame {name}") from error
        part = part.reshape(0, len(columns)) if part.size == 0 else part
        if part.ndim != 2 or part.shape[1] != len(columns):
            message = f"boxes of shape {part.shape}, expected (n, {len(columns)})"
            raise ResultsError(message, where=f"frame {name}", cure=f"A row is {' '.join(columns)}")
        parts.append(part)
    return _stack(parts, names, len(columns))


def bottom_rows(boxes: ArrayLike, scores: ArrayLike | None = None) -> Array:
    """Rows (z of the bottom face) from portbev's boxes (n, 7 or more; z of the centre) and scores (n,)."""
    rows = np.array(np.asarray(boxes, np.float64)[:, :7])
    rows[:, 2] -= rows[:, 5] / 2
    return rows if scores is None else np.column_stack([rows, np.asarray(scores, np.float64)])


@dataclass(frozen=True)
class Padded:
    """Boxes of F frames padded to the same number K of boxes.

    Attributes:
        boxes: (F, K, 8 or 7), zeros in the padding; K is at least 1.
        valid: (F, K) True for a box, False for padding.
    """

    boxes: Array
    valid: Mask

    def part(self, frames: slice) -> Padded:
        """The boxes of some of the frames."""
        return Padded(self.boxes[frames], self.valid[frames])


def padded(boxes: FrameBoxes) -> Padded:
    """Pad all frames to the largest number of boxes of a frame."""
    capacity = max(int(boxes.counts.max(initial=0)), 1)
    valid = np.arange(capacity) < boxes.counts[:, None]
    rows = np.zeros((*valid.shape, boxes.rows.shape[1]))
    rows[valid] = boxes.rows
    return Padded(rows, valid)


def single_precision(boxes: Padded) -> Padded:
    """The boxes rounded to float32, because the original stores its predictions in float32."""
    with np.errstate(over="ignore"):
        return Padded(boxes.boxes.astype(np.float32).astype(np.float64), boxes.valid)


def _stack(parts: Sequence[Array], frames: tuple[str, ...], width: int) -> FrameBoxes:
    rows = np.concatenate(parts) if parts else np.zeros((0, width))
    return FrameBoxes(frames, rows, np.array([len(part) for part in parts], np.int64))


def _first_repeated(names: Sequence[str]) -> str | None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
