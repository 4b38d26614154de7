"""Check the order of a split's samples: their times and their ``prev`` links."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
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
        DataError: two samples of a scene have the same time, or ``prev`` names a sample that is later or of another
            scene, so that the order is unknown.
    """
    rows = np.unique(samples)
    follows = np.zeros(len(rows), bool)
    follows[1:] = (np.diff(rows) == 1) & (index.sample_scene[rows[1:]] == index.sample_scene[rows[:-1]])
    later, before = rows[follows], index.sample_before[rows]
    step = index.sample_time[later] - index.sample_time[later - 1]
    if (step <= 0).any():
        _refuse(index, int(later[step <= 0][0]), "has the time of another sample of its scene")
    linked = before >= 0
    target = before[linked]
    wrong = index.sample_time[target] >= index.sample_time[rows[linked]]
    if wrong.any():
        _refuse(index, int(rows[linked][wrong][0]), "is linked behind a sample that is not earlier")
    if (index.sample_scene[target] != index.sample_scene[rows[linked]]).any():
        foreign = index.sample_scene[target] != index.sample_scene[rows[linked]]
        _refuse(index, int(rows[linked][foreign][0]), "is linked behind a sample of another scene")
    notes = []
    skipping = rows[before != np.where(follows, rows - 1, -1)]
    if len(skipping):
        message = "are not linked to the sample before them, frames may be missing"
        notes.append(_note(index, skipping, message))
    usual = float(np.median(step)) if len(step) else 0.0
    slow = later[step > LONG_STEP * usual]
    if len(slow):
        message = f"come more than {LONG_STEP * usual * 1e-6:.2g} s after the sample before them, frames may be missing"
        notes.append(_note(index, slow, message))
    _, counts = np.unique(index.sample_scene[rows], return_counts=True)
    if (counts == 1).any():
        notes.append(f"{int((counts == 1).sum())} scenes have a single sample: it has no history")
    return notes


def _refuse(index: Index, row: int, message: str) -> None:
    scene = index.scenes[index.sample_scene[row]].decode()
    raise DataError(
        f"sample {index.sample_token[row].decode()} {message}",
        where=f"sample.json, {scene}",
        cure="Correct the times or the links: portbev data check nuscenes lists them",
    )


def _note(index: Index, rows: NDArray[np.int64], message: str) -> str:
    scene = index.scenes[index.sample_scene[rows[0]]].decode()
    first = f"the first is {index.sample_token[rows[0]].decode()} in {scene}"
    return f"{len(rows)} samples {message}; history goes on over the gap ({first})"
