"""The nuScenes detection benchmark."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from portbev.data.root import open_root
from portbev.errors import PortbevError
from portbev.evaluate.benchmark import ClassTable, Metric
from portbev.evaluate.distance import Within
from portbev.evaluate.usable import LEFT_OUT, left_out_notes, usable
from portbev.files import finite
from portbev.paths import DataPath
from portbev.runs.metrics import METRICS_SCHEMA
from portbev_nuscenes.classes import DETECTION_CLASSES, MAX_BOXES_PER_SAMPLE
from portbev_nuscenes.metrics import (
    DetectionConfig,
    DetectionMetrics,
    PredictionArrays,
    evaluate,
    evaluate_files,
    load_ground_truth,
    write_predictions,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from portbev.data.base import Dataset
    from portbev.models import Detections
    from portbev.runs.evaluated import Evaluated
    from portbev.viz.views import Views
    from portbev_nuscenes.samples.keyframes import KeyFrames

_ARRAYS = ("translation", "size", "rotation", "velocity", "label", "score", "attribute")
_HEAD = re.compile(rb'\s*\{.*"(meta|results)"\s*:', re.DOTALL)
_BOXES = b"LiDARInstance3DBoxes"
_LOOKED_AT = 1 << 20
"""Bytes of a pickle in which the class of its boxes is looked for."""
_WIDTHS = {"translation": 3, "size": 3, "rotation": 4, "velocity": 2}


def _error(key: str, name: str, title: str, unit: str = "") -> Metric:
    return Metric(key, name, title, "lower", unit, ("tp_errors", key))


class NuscenesBenchmark:
    """mAP, five true-positive errors and NDS over the ten detection classes."""

    name = "nuscenes"
    metrics: tuple[Metric, ...] = (
        Metric("mean_ap", "mAP", "mean average precision"),
        _error("trans_err", "mATE", "translation error", "m"),
        _error("scale_err", "mASE", "scale error, 1 - IoU"),
        _error("orient_err", "mAOE", "orientation error", "rad"),
        _error("vel_err", "mAVE", "velocity error", "m/s"),
        _error("attr_err", "mAAE", "attribute error, 1 - accuracy"),
        Metric("nd_score", "NDS", "nuScenes detection score"),
    )
    headline: tuple[str, ...] = ("mean_ap", "nd_score")
    best = "nd_score"
    class_title = "Average precision per class"

    def check(self, dataset: Dataset) -> list[str]:
        """A note where no ground truth counts. What scoring refuses, ``dataset.check()`` has refused before."""
        from portbev_nuscenes.samples.lookedover import LookedOver

        if not isinstance(dataset, LookedOver) or dataset.counting().any():
            return []
        reasons = "; ".join(f"{count} {reason}" for reason, count in dataset.summary().dropped.items())
        return [
            f"no ground truth of {dataset.split} counts, so that every score will be 0: boxes are farther away than "
            "the benchmark looks" + (f", or left out ({reasons})" if reasons else "")
        ]

    def encode(self, found: Detections, token: str, frame2global: NDArray[Any]) -> dict[str, Any]:
        """The sample's boxes in the global frame."""
        from portbev_nuscenes.submission import to_submission

        scored, left = usable(found, limit=MAX_BOXES_PER_SAMPLE)
        boxes = to_submission(scored, token, frame2global)
        sample = {name: getattr(boxes, name).tolist() for name in _ARRAYS}
        return {**sample, LEFT_OUT: left} if left else sample

    def write(self, samples: Sequence[dict[str, Any]], dataset: Dataset, path: Path) -> list[str]:
        """Write the submission."""
        write_predictions(path, _merge(samples, dataset.tokens))
        return left_out_notes(samples)

    def score(
        self, samples: Sequence[dict[str, Any]], dataset: Dataset, *, within: Within | None = None
    ) -> dict[str, Any]:
        """Score against the tables."""
        tables = cast("KeyFrames", dataset)
        truth = load_ground_truth(
            dataset.root,
            dataset.version,
            dataset.split,
            categories=tables.categories,
            min_points=tables.min_points,
        )
        result = evaluate(_merge(samples, dataset.tokens), truth.select(dataset.tokens), _config(within))
        record = metrics_record(result, samples=len(dataset.tokens), split=dataset.split, version=dataset.version)
        record["notes"] += left_out_notes(samples)
        return record

    def recognises(self, path: Path, start: bytes) -> bool:
        """A submission, a JSON file with ``meta`` and ``results`` and no schema; or a pickle of mmdet3d's boxes."""
        if start[:1] == b"\x80":
            return _mentions(path, _BOXES)
        return path.suffix == ".json" and b'"schema"' not in start and _HEAD.match(start) is not None

    def open_views(self, evaluated: Evaluated, *, data_root: str | Path | None, version: str | None) -> Views:
        """The samples of an evaluation's submission."""
        from portbev_nuscenes.views import open_nuscenes

        return open_nuscenes(evaluated, data_root, version)

    def score_file(
        self,
        results: Path,
        *,
        data_root: str | None,
        version: str | None,
        split: str,
        within: Within | None = None,
        infos: str | None = None,
        boxes: str | None = None,
        classes: str | None = None,
    ) -> dict[str, Any]:
        """Score a detection submission, see :func:`evaluate_submission`, or a pickle of mmdet3d's boxes.

        ``infos``, ``boxes`` and ``classes`` are for a pickle: :func:`portbev_nuscenes.pickled.results.load_results`.
        """
        if version is None:
            cure = "For example: --version v1.0-trainval"
            raise PortbevError("a submission needs --version", where=str(results), cure=cure)
        said = {"--infos": infos, "--boxes": boxes, "--classes": classes}
        with open(results, "rb") as file:
            if file.read(1) == b"\x80":
                return _evaluate_pickle(results, open_root(data_root), version, split, within, said)
        if given := [name for name, value in said.items() if value is not None]:
            what = f"{', '.join(given)} {'does' if len(given) == 1 else 'do'} nothing for a submission"
            raise PortbevError(
                what, where=str(results), cure="Leave it out: it is for a pickle of a detector's results"
            )
        return evaluate_submission(results, data_root=data_root, version=version, split=split, within=within)

    def class_table(self, record: Mapping[str, Any]) -> ClassTable:
        """AP, true-positive errors and counts per class."""
        errors = {"trans_err": "ATE", "scale_err": "ASE", "orient_err": "AOE", "vel_err": "AVE", "attr_err": "AAE"}
        kinds = ("predictions", "ground_truth")
        rows = [
            (
                name,
                [
                    ap,
                    *(record["label_tp_errors"][name][error] for error in errors),
                    *(record["boxes"][kind].get(name, 0) for kind in kinds),
                ],
            )
            for name, ap in record["mean_dist_aps"].items()
        ]
        sums = [sum(record["boxes"][kind].values()) for kind in kinds]
        total = ("all", [record["mean_ap"], *(record["tp_errors"][error] for error in errors), *sums])
        return ClassTable(["AP", *errors.values(), "predicted", "annotated"], rows, total)

    def class_figures(self, record: Mapping[str, Any]) -> dict[str, float | None]:
        """AP per class, the mean over the distances."""
        aps = record.get("mean_dist_aps") or {}
        return {name: aps.get(name) for name in DETECTION_CLASSES}


def metrics_record(result: DetectionMetrics, *, samples: int, split: str, version: str) -> dict[str, Any]:
    """The content of ``metrics.json`` that comes from the metrics alone. NaN (not defined) becomes None."""
    summary = result.summary()
    keys = ("mean_ap", "nd_score", "tp_errors", "tp_scores", "label_aps", "mean_dist_aps", "label_tp_errors")
    record = {"schema": METRICS_SCHEMA, "benchmark": "nuscenes", **{key: summary[key] for key in keys}}
    counts = {"ground_truth": dict(result.ground_truth_counts), "predictions": dict(result.prediction_counts)}
    record.update(samples=samples, split=split, version=version, boxes=counts, by_distance=list(result.by_distance))
    record.update(notes=list(result.notes))
    cleaned: dict[str, Any] = finite(record)
    return cleaned


def evaluate_submission(
    results: Path, *, data_root: Path | str | None, version: str, split: str, within: Within | None = None
) -> dict[str, Any]:
    """Score anyone's nuScenes detection submission.

    Returns:
        The content of ``metrics.json``.
    """
    metrics = evaluate_files(results, open_root(data_root), version, split, config=_config(within))
    return metrics_record(metrics, samples=metrics.samples, split=split, version=version)


def _evaluate_pickle(
    results: Path, root: DataPath, version: str, split: str, within: Within | None, said: Mapping[str, str | None]
) -> dict[str, Any]:
    """Score mmdet3d's ``results.pkl``; how it was read is in the notes."""
    from portbev_nuscenes.metrics.checks import check_samples
    from portbev_nuscenes.pickled.results import load_results

    infos = said["--infos"]
    predictions, notes = load_results(
        results,
        root,
        version,
        split,
        infos=None if infos is None else Path(infos),
        boxes=said["--boxes"],
        classes=said["--classes"],
    )
    truth = load_ground_truth(root, version, split)
    check_samples(predictions, truth.sample_tokens, split=split)
    metrics = evaluate(predictions.select(truth.sample_tokens), truth, _config(within))
    record = metrics_record(metrics, samples=len(truth.sample_tokens), split=split, version=version)
    record["notes"] += notes
    return record


def _mentions(path: Path, name: bytes) -> bool:
    """Whether the beginning of a file has ``name`` in it."""
    try:
        with open(path, "rb") as file:
            return name in file.read(_LOOKED_AT)
    except OSError:
        return False


def _config(within: Within | None) -> DetectionConfig:
    return DetectionConfig() if within is None else DetectionConfig().within(*within)


def _merge(samples: Sequence[dict[str, Any]], tokens: Sequence[str]) -> PredictionArrays:
    counts = [len(sample["score"]) for sample in samples]
    columns: dict[str, Any] = {}
    for name in _ARRAYS:
        rows = [row for sample in samples for row in sample[name]]
        kind = np.int8 if name in ("label", "attribute") else np.float64
        columns[name] = np.array(rows, kind).reshape(-1, _WIDTHS[name]) if name in _WIDTHS else np.array(rows, kind)
    return PredictionArrays(tuple(tokens), np.repeat(np.arange(len(tokens)), counts), **columns)
