"""Check the order of a split's samples: their times and their ``prev`` links."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev_nuscenes.checks.problem import Problem, refuse
from portbev_nuscenes.tables.index import Index

LONG_STEP = 1.5
"""A step longer than this many times the median step of the split is reported as a gap."""


def check_chain(index: Index, samples: NDArray[np.int64]) -> list[str]:
    """Notes on gaps in the history of a split's samples.

    Samples are ordered by time, as in the original. A sample counts as following a gap where its ``prev`` link is
    missing, invalid or skips a sample, or where the time step is much longer than usual. History continues across a
    gap, with the true ego motion.

    Args:
        index: the index of the version.
        samples: rows of the split's samples; scenes are complete.

    Raises:
        DataError: the order is unknown: see :func:`order_problems`.
    """
    refuse(order_problems(index, samples))
    rows, follows = _rows(index, samples)
    before = index.sample_before[rows]
    notes = []
    skipping = rows[before != np.where(follows, rows - 1, -1)]
    if len(skipping):
        message = "are not linked to the sample before them, frames may be missing"
        notes.append(_note(index, skipping, message))
    later = rows[follows]
    step = index.sample_time[later] - index.sample_time[later - 1]
    usual = float(np.median(step)) if len(step) else 0.0
    slow = later[step > LONG_STEP * usual]
    if len(slow):
        message = f"come more than {LONG_STEP * usual * 1e-6:.2g} s after the sample before them, frames may be missing"
        notes.append(_note(index, slow, message))
    _, counts = np.unique(index.sample_scene[rows], return_counts=True)
    if (counts == 1).any():
        notes.append(f"{int((counts == 1).sum())} scenes have a single sample: it has no history")
    return notes


def order_problems(index: Index, samples: NDArray[np.int64]) -> list[Problem]:
    """The problems that two samples of a scene have the same time, or that ``prev`` names a later sample or one of
    another scene, so that the order is unknown."""
    rows, follows = _rows(index, samples)
    before, later = index.sample_before[rows], rows[follows]
    same_time = later[index.sample_time[later] <= index.sample_time[later - 1]]
    linked, target = rows[before >= 0], before[before >= 0]
    not_earlier = linked[index.sample_time[target] >= index.sample_time[linked]]
    foreign = linked[index.sample_scene[target] != index.sample_scene[linked]]
    return [
        _problem(index, found, message)
        for found, message in (
            (same_time, "has the time of another sample of its scene"),
            (not_earlier, "is linked behind a sample that is not earlier"),
            (foreign, "is linked behind a sample of another scene"),
        )
        if len(found)
    ]


def _rows(index: Index, samples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The samples in order, and (n,) whether each is of the scene of the one before it and follows it directly."""
    rows = np.unique(samples)
    follows = np.zeros(len(rows), bool)
    follows[1:] = (np.diff(rows) == 1) & (index.sample_scene[rows[1:]] == index.sample_scene[rows[:-1]])
    return rows, follows


def _problem(index: Index, rows: NDArray[np.int64], message: str) -> Problem:
    scene = index.scenes[index.sample_scene[rows[0]]].decode()
    others = f" (and {len(rows) - 1} others)" if len(rows) > 1 else ""
    what, cure = f"sample {index.token(rows[0])} {message}{others}", "Correct the times or the links of the samples"
    return Problem(f"sample.json, {scene}", what, cure)


def _note(index: Index, rows: NDArray[np.int64], message: str) -> str:
    scene = index.scenes[index.sample_scene[rows[0]]].decode()
    first = f"the first is {index.sample_token[rows[0]].decode()} in {scene}"
    return f"{len(rows)} samples {message}; history goes on over the gap ({first})"
