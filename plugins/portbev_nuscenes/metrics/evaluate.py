"""The evaluation of predictions given as arrays or as files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from portbev.paths import DataPath
from portbev_nuscenes.classes import DETECTION_CLASSES, EVALUATION_CLASSES
from portbev_nuscenes.metrics.arrays import GroundTruthArrays, PredictionArrays
from portbev_nuscenes.metrics.checks import check_predictions, check_samples
from portbev_nuscenes.metrics.config import DetectionConfig
from portbev_nuscenes.metrics.curves import curve
from portbev_nuscenes.metrics.filters import filter_boxes
from portbev_nuscenes.metrics.matching import by_rank, candidates, match
from portbev_nuscenes.metrics.result import ABBREVIATIONS, DetectionMetrics
from portbev_nuscenes.metrics.rings import rings
from portbev_nuscenes.metrics.submission import load_predictions
from portbev_nuscenes.metrics.tables import load_ground_truth
from portbev_nuscenes.metrics.tp_errors import tp_errors
from portbev_nuscenes.tables.splits import OFFICIAL_SPLITS, scene_names

if TYPE_CHECKING:
    import pandas as pd


def evaluate_files(
    results: Path | str, data_root: DataPath | str, version: str, split: str, *, config: DetectionConfig | None = None
) -> DetectionMetrics:
    """Score a submission file on a split.

    For an official split the submission must have exactly the samples of the split; for a custom split it may have
    more.

    Args:
        results: a nuScenes detection submission.
        data_root: folder that holds the version's folder.
        version: name of the table folder.
        split: an official split or one of the version's ``splits.json``.
        config: the official settings by default.

    Raises:
        ResultsError: a submission that cannot be scored; says which sample and box.
        DataError: tables that are missing or damaged.
    """
    started = time.perf_counter()
    config = config or DetectionConfig()
    ground_truth = load_ground_truth(data_root, version, split)
    predictions = load_predictions(results, max_boxes_per_sample=config.max_boxes_per_sample)
    official = OFFICIAL_SPLITS.get(split) == scene_names(split, data_root, version)
    check_samples(predictions, ground_truth.sample_tokens, split=split, extra_allowed=not official)
    if not official:
        predictions = predictions.select(ground_truth.sample_tokens)
    metrics = _evaluate(predictions, ground_truth, config)
    return replace(metrics, eval_time=time.perf_counter() - started)


def evaluate(
    predictions: PredictionArrays,
    ground_truth: GroundTruthArrays,
    config: DetectionConfig | None = None,
    *,
    samples: Sequence[str] | None = None,
) -> DetectionMetrics:
    """Score arrays in memory. No tables are needed.

    Args:
        predictions: predicted boxes.
        ground_truth: annotated boxes of the same samples.
        config: the official settings by default.
        samples: evaluate only these samples, which both arguments must have. By default all samples, and then both
            must have the same ones.

    Raises:
        ResultsError: samples that differ, or a box that cannot be scored; says which sample and box.
    """
    config = config or DetectionConfig()
    if samples is not None:
        predictions, ground_truth = predictions.select(samples), ground_truth.select(samples)
    check_samples(predictions, ground_truth.sample_tokens)
    check_predictions(predictions, max_boxes_per_sample=config.max_boxes_per_sample)
    return _evaluate(predictions, ground_truth, config)


def distance_bands(
    predictions: PredictionArrays,
    ground_truth: GroundTruthArrays,
    edges: Sequence[float] = (0.0, 20.0, 30.0, 50.0),
    config: DetectionConfig | None = None,
) -> pd.DataFrame:
    """The metrics by distance from the ego: in each band only predictions and ground truth in that band are evaluated.

    Args:
        predictions, ground_truth: as in :func:`evaluate`.
        edges: ascending distances in metres; each two neighbours make a band, which includes its lower edge. The class
            ranges apply as well.
        config: the official settings by default.

    Returns:
        A row per band: mAP and the five mean errors over the classes with ground truth in the band, and box counts.
    """
    import pandas as pd

    config = config or DetectionConfig()
    rows = []
    for low, high in pairwise(edges):
        band = evaluate(predictions, ground_truth, config.within(low, high))
        rows.append({"band": f"{low:g}-{high:g} m", **_present(band)})
    return pd.DataFrame(rows).set_index("band")


def _present(metrics: DetectionMetrics) -> dict[str, float | int]:
    """Means over the classes that have ground truth; in a band the other classes would only count as zeros."""
    present = [name for name in DETECTION_CLASSES if metrics.ground_truth_counts[name]]
    aps = [metrics.mean_dist_aps[name] for name in present]
    row: dict[str, float | int] = {"mAP": float(np.mean(aps)) if aps else float("nan")}
    for error, short in ABBREVIATIONS.items():
        values = [metrics.label_tp_errors[name][error] for name in present]
        defined = [value for value in values if not np.isnan(value)]
        row[f"m{short}"] = float(np.mean(defined)) if defined else float("nan")
    row["ground truth"] = sum(metrics.ground_truth_counts.values())
    row["predictions"] = sum(metrics.prediction_counts.values())
    return row


def _evaluate(
    predictions: PredictionArrays, ground_truth: GroundTruthArrays, config: DetectionConfig
) -> DetectionMetrics:
    predictions = _renumbered(predictions, ground_truth.sample_tokens)
    kept, truth = filter_boxes(predictions, ground_truth, config)
    order, first = by_rank(kept)
    pairs = candidates(kept, truth, order, max(config.distance_thresholds))
    scores = kept.score[order]
    truth_counts = np.bincount(truth.label, minlength=len(DETECTION_CLASSES))
    curves = {}
    for threshold in config.distance_thresholds:
        ranks, matched = match(pairs, threshold, len(truth))
        errors = tp_errors(kept.take(order[ranks]), truth.take(matched))
        begin = np.searchsorted(ranks, first)
        for label, name in enumerate(DETECTION_CLASSES):
            matches = slice(begin[label], begin[label + 1])
            curves[name, threshold] = curve(
                scores[first[label] : first[label + 1]],
                ranks[matches] - first[label],
                int(truth_counts[label]),
                {error: values[matches] for error, values in errors.items()},
            )
    ordered = {(name, t): curves[name, t] for name in EVALUATION_CLASSES for t in config.distance_thresholds}
    return DetectionMetrics(
        ordered,
        config,
        meta=predictions.meta,
        ground_truth_counts=dict(zip(DETECTION_CLASSES, truth_counts.tolist(), strict=True)),
        prediction_counts=dict(zip(DETECTION_CLASSES, np.diff(first).tolist(), strict=True)),
        samples=len(ground_truth.sample_tokens),
        notes=(*_notes(kept), *_truth_notes(truth_counts, config)),
        by_distance=rings(kept, truth, order, pairs, config),
    )


def _notes(predictions: PredictionArrays) -> tuple[str, ...]:
    if not len(predictions):
        return ("No predicted box is within range, so everything scores zero.",)
    unknown = int(np.isnan(predictions.velocity).any(1).sum())
    if not unknown:
        return ()
    return (f"{unknown} predicted boxes have an unknown (NaN) velocity and do not count in mAVE.",)


def _truth_notes(counts: NDArray[np.int64], config: DetectionConfig) -> list[str]:
    """What is missing from the ground truth, which the devkit counts as not found."""
    if not counts.any():
        return ["There is no ground truth that counts: no box of the ten classes that has points and is within range."]
    absent = [name for name in EVALUATION_CLASSES if not counts[DETECTION_CLASSES.index(name)]]
    if not absent:
        return []
    return [f"There is no ground truth of {', '.join(absent)}; each counts 0 in mAP, as in the devkit."]


def _renumbered(predictions: PredictionArrays, tokens: Sequence[str]) -> PredictionArrays:
    """The same rows with samples numbered as in ``tokens``. The order of rows is kept, because it breaks ties."""
    if tuple(predictions.sample_tokens) == tuple(tokens):
        return predictions
    position = {token: index for index, token in enumerate(tokens)}
    renumbered = np.array([*(position[token] for token in predictions.sample_tokens), -1], np.int64)
    lookup = predictions.lookup_index
    return replace(
        predictions,
        sample_tokens=tuple(tokens),
        sample_index=renumbered[predictions.sample_index],
        lookup_index=None if lookup is None else renumbered[lookup],
    )
