"""Boxes of many frames as arrays, checked.

A row is [x y z_bottom dx dy dz yaw], with the score behind it for a prediction, in the radar's frame: x ahead, y left,
z up [m]; z is that of the bottom face, unlike portbev's own boxes; dx along the heading; yaw [rad] from x towards y.
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
    """Boxes of several frames, one after the other.

    Attributes:
        frames: names of the frames, each once.
        rows: (N, 8) predictions or (N, 7) ground truth, float64.
        counts: (F,) boxes of each frame.

    Raises:
        ResultsError: a repeated frame, a wrong shape, a number that is not finite, a size below zero. Says which frame.
    """

    frames: tuple[str, ...]
    rows: Array
    counts: Integers

    def __post_init__(self) -> None:
        repeated = _first_repeated(self.frames)
        if repeated is not None:
            raise ResultsError("appears twice", where=f"frame {repeated}")
        if self.rows.ndim != 2 or self.rows.shape[1] not in (len(TRUTH_COLUMNS), len(PREDICTION_COLUMNS)):
            what = f"boxes of shape {self.rows.shape}, expected (n, 8) for predictions or (n, 7) for ground truth"
            raise ResultsError(what)
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
        """Only these frames, in this order.

        Raises:
            ResultsError: a frame that is not there.
        """
        mine = dict(zip(self.frames, self.arrays(), strict=True))
        missing = [name for name in frames if name not in mine]
        if missing:
            raise ResultsError(f"{len(missing)} frames are missing", where=f"frame {missing[0]}")
        return _stack([mine[name] for name in frames], tuple(frames), self.rows.shape[1])

    def _check_numbers(self) -> None:
        endless = np.flatnonzero(~np.isfinite(self.rows).all(1))
        if len(endless):
            raise self._fault(int(endless[0]), "is not finite", "Find out where the model's NaN or infinity comes from")
        negative = np.flatnonzero((self.rows[:, 3:6] < 0).any(1))
        if len(negative):
            raise self._fault(int(negative[0]), "has a size below zero", "Sizes are full extents in metres")

    def _fault(self, row: int, what: str, cure: str) -> ResultsError:
        frame = int(self.frame_index[row])
        box = row - int(self.counts[:frame].sum())
        values = ", ".join(f"{value:g}" for value in self.rows[row])
        return ResultsError(f"[{values}] {what}", where=f"frame {self.frames[frame]}, box {box}", cure=cure)


def frame_boxes(arrays: Iterable[ArrayLike], frames: Sequence[str] | None = None, *, scored: bool) -> FrameBoxes:
    """Boxes of frames from one array each.

    Args:
        arrays: (n, 8) predictions or (n, 7) ground truth per frame; an empty one may have any shape.
        frames: their names; by default their positions, as six digits.
        scored: True for predictions.

    Raises:
        ResultsError: as :class:`FrameBoxes`.
    """
    columns = PREDICTION_COLUMNS if scored else TRUTH_COLUMNS
    found = list(arrays)
    names = tuple(frames) if frames is not None else tuple(f"{index:06d}" for index in range(len(found)))
    if len(names) != len(found):
        raise ResultsError(f"boxes of {len(found)} frames, but {len(names)} names of frames")
    parts = []
    for name, array in zip(names, found, strict=True):
        try:
            part = np.asarray(array, np.float64)
        except (TypeError, ValueError) as error:
            raise ResultsError(f"boxes that are no table of numbers ({error})", where=f"frame {name}") from error
        part = part.reshape(0, len(columns)) if part.size == 0 else part
        if part.ndim != 2 or part.shape[1] != len(columns):
            what = f"boxes of shape {part.shape}, expected (n, {len(columns)})"
            raise ResultsError(what, where=f"frame {name}", cure=f"A row is {' '.join(columns)}")
        parts.append(part)
    return _stack(parts, names, len(columns))


def bottom_rows(boxes: ArrayLike, scores: ArrayLike | None = None) -> Array:
    """Rows of this package from portbev's boxes (n, 7 or more), whose z is the centre's; with scores (n,) behind."""
    rows = np.array(np.asarray(boxes, np.float64)[:, :7])
    rows[:, 2] -= rows[:, 5] / 2
    return rows if scores is None else np.column_stack([rows, np.asarray(scores, np.float64)])


@dataclass(frozen=True)
class Padded:
    """The same boxes with one row of the arrays per frame.

    Attributes:
        boxes: (F, K, 8 or 7), zeros where there is none; K is at least 1.
        there: (F, K) True where there is a box.
    """

    boxes: Array
    there: Mask

    def part(self, frames: slice) -> Padded:
        """Some of the frames."""
        return Padded(self.boxes[frames], self.there[frames])


def padded(boxes: FrameBoxes) -> Padded:
    """Give every frame the room of the fullest one."""
    room = max(int(boxes.counts.max(initial=0)), 1)
    there = np.arange(room) < boxes.counts[:, None]
    filled = np.zeros((*there.shape, boxes.rows.shape[1]))
    filled[there] = boxes.rows
    return Padded(filled, there)


def single_precision(boxes: Padded) -> Padded:
    """The boxes as they are after a pass through float32, in which the original keeps its predictions."""
    with np.errstate(over="ignore"):
        return Padded(boxes.boxes.astype(np.float32).astype(np.float64), boxes.there)


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
