"""Whether a split's samples follow each other as their tables say."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev_nuscenes.tables.index import Index

LONG_STEP = 1.5
"""Times the split's usual step: from here on a frame is taken to be missing."""


def check_chain(index: Index, samples: NDArray[np.int64]) -> list[str]:
    """Notes on what is unusual in the order of a split's samples, which come as whole scenes.

    Time decides the order, as in the original. Where a ``prev`` link skips a sample, is missing or leads nowhere, or a
    step takes much longer than usual, history goes on over the gap, with the true ego motion, and that is noted.

    Raises:
        DataError: two samples of a scene at one time, or a sample linked behind a later one: the order is unknown.
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
        what = "are not linked to the sample before them, frames may be missing"
        notes.append(_note(index, skipping, what))
    usual = float(np.median(step)) if len(step) else 0.0
    slow = later[step > LONG_STEP * usual]
    if len(slow):
        what = f"come more than {LONG_STEP * usual * 1e-6:.2g} s after the sample before them, frames may be missing"
        notes.append(_note(index, slow, what))
    _, counts = np.unique(index.sample_scene[rows], return_counts=True)
    if (counts == 1).any():
        notes.append(f"{int((counts == 1).sum())} scenes have a single sample: it has no history")
    return notes


def _refuse(index: Index, row: int, what: str) -> None:
    scene = index.scenes[index.sample_scene[row]].decode()
    raise DataError(
        f"sample {index.sample_token[row].decode()} {what}",
        where=f"sample.json, {scene}",
        cure="Correct the times or the links: portbev data check nuscenes lists them",
    )


def _note(index: Index, rows: NDArray[np.int64], what: str) -> str:
    scene = index.scenes[index.sample_scene[rows[0]]].decode()
    first = f"the first is {index.sample_token[rows[0]].decode()} in {scene}"
    return f"{len(rows)} samples {what}; history goes on over the gap ({first})"
