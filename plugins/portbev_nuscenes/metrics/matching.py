"""Matching of predictions with ground truth.

By descending score, each prediction is matched with the nearest ground truth of its class and sample that is still
free, if it is nearer than the threshold. This greedy matching is the unique stable matching (Gale and Shapley, 1962) in
which predictions prefer near ground truths and ground truths prefer high scores, so that it can be computed in rounds
of proposals over all samples and classes at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.metrics.arrays import GroundTruthArrays, PredictionArrays, expand

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_CLASSES = len(DETECTION_CLASSES)
_BATCH = 1 << 18
_SLACK = 1e-3
"""Metres by which the search window is widened, so that rounding loses no pair."""


def norm2(vectors: Floats) -> Floats:
    """(N,) lengths of (N, 2) vectors by BLAS dot products, bit-equal to ``numpy.linalg.norm`` of each single vector."""
    vectors = np.ascontiguousarray(vectors)
    return np.sqrt(np.matmul(vectors[:, None, :], vectors[:, :, None])[:, 0, 0])


def by_rank(predictions: PredictionArrays) -> tuple[Ints, Ints]:
    """Order of the predictions: by class, then by descending score; of equal scores the last one comes first.

    Returns:
        (P,) row at each rank, and (classes + 1,) first rank of each class.
    """
    parts = []
    for label in range(_CLASSES):
        rows = np.flatnonzero(predictions.label == label)
        parts.append(rows[np.argsort(predictions.score[rows], kind="stable")[::-1]])
    return np.concatenate(parts), np.cumsum([0, *map(len, parts)])


@dataclass(frozen=True)
class Candidates:
    """Pairs that may match, ordered by rank of the prediction, then distance [m], then row of the ground truth."""

    rank: Ints
    truth: Ints
    distance: Floats


def candidates(
    predictions: PredictionArrays, ground_truth: GroundTruthArrays, order: Ints, max_distance: float
) -> Candidates:
    """All pairs of one class and sample with centres nearer than ``max_distance`` [m] in x and y.

    Args:
        predictions, ground_truth: boxes that are evaluated, with the same sample indices.
        order: (P,) row of ``predictions`` at each rank.
    """
    window = max_distance + _SLACK
    origin = ground_truth.ego_translation[:, 0]
    truth_x = ground_truth.translation[:, 0] - origin[ground_truth.sample_index]
    span = float(np.abs(truth_x).max(initial=0.0)) + window
    # all samples and classes share one axis: each has an interval of its own that no search window leaves
    interval = 2 * (span + window)
    truth_key = _group(ground_truth.sample_index, ground_truth.label) * interval + truth_x
    truth_order = np.argsort(truth_key, kind="stable")
    truth_key = truth_key[truth_order]
    blocks = []
    for begin in range(0, len(order), _BATCH):
        rows = order[begin : begin + _BATCH]
        lookup = predictions.lookup[rows]
        x = predictions.translation[rows, 0] - origin[lookup]
        reachable = np.flatnonzero((lookup >= 0) & (np.abs(x) <= span))
        key = _group(lookup[reachable], predictions.label[rows[reachable]]) * interval + x[reachable]
        first = np.searchsorted(truth_key, key - window, "left")
        pair, truth = expand(first, np.searchsorted(truth_key, key + window, "right") - first)
        rank, truth = reachable[pair], truth_order[truth]
        offset = predictions.translation[rows[rank], :2] - ground_truth.translation[truth, :2]
        close = np.flatnonzero((offset * offset).sum(1) < window * window)
        distance = norm2(offset[close])
        near = distance < max_distance
        close = close[near]
        blocks.append((rank[close] + begin, truth[close], distance[near]))
    if not blocks:
        return Candidates(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    rank, truth, distance = (np.concatenate(column) for column in zip(*blocks, strict=False))
    ordered = np.lexsort((truth, distance, rank))
    return Candidates(rank[ordered], truth[ordered], distance[ordered])


def _group(sample_index: Ints, label: NDArray[np.int8]) -> Ints:
    return sample_index * _CLASSES + label


def match(pairs: Candidates, threshold: float, truths: int) -> tuple[Ints, Ints]:
    """The matching at one distance threshold.

    Args:
        pairs: candidates up to at least ``threshold``.
        threshold: distance in metres, exclusive.
        truths: number of ground truths.

    Returns:
        (M,) ranks of the predictions that match, ascending, and (M,) the ground truths that they match.
    """
    near = np.flatnonzero(pairs.distance < threshold)
    rank, truth = pairs.rank[near], pairs.truth[near]
    begins = np.flatnonzero(np.diff(rank, prepend=-1))
    ends = np.append(begins[1:], len(rank))
    # proposers are numbered by rank, so the smaller number is the better score
    nobody = len(begins)
    taker = np.full(truths, nobody)
    choice = begins.copy()
    proposing = np.arange(nobody)
    while len(proposing):
        proposed = truth[choice[proposing]]
        held = taker[proposed]
        taker[proposed[::-1]] = proposing[::-1]  # of several, the first (best) is written last
        taker[proposed] = np.minimum(taker[proposed], held)
        lost = proposing[taker[proposed] != proposing]
        pushed_out = held[(held != nobody) & (taker[proposed] != held)]
        retry = np.union1d(lost, pushed_out)
        choice[retry] += 1
        proposing = retry[choice[retry] < ends[retry]]
    taken = np.flatnonzero(taker < nobody)
    winners = np.argsort(taker[taken])
    return rank[begins[taker[taken[winners]]]], taken[winners]
