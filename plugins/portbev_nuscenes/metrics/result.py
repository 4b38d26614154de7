"""The result of an evaluation: the numbers, the devkit's two JSON files, and pandas tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from portbev.files import write_json
from portbev_nuscenes.classes import EVALUATION_CLASSES
from portbev_nuscenes.metrics.config import TP_ERRORS, UNDEFINED_ERRORS, DetectionConfig
from portbev_nuscenes.metrics.curves import RECALL, Curve

if TYPE_CHECKING:
    import pandas as pd

ABBREVIATIONS: Mapping[str, str] = {
    "trans_err": "ATE",
    "scale_err": "ASE",
    "orient_err": "AOE",
    "vel_err": "AVE",
    "attr_err": "AAE",
}
"""True-positive error -> its usual abbreviation; ``m`` before it means the mean over the classes."""


@dataclass(frozen=True)
class DetectionMetrics:
    """nuScenes detection metrics.

    Attributes:
        curves: (class, distance threshold [m]) -> its curves.
        config: the settings of the evaluation.
        meta: the submission's ``meta``.
        ground_truth_counts, prediction_counts: class -> number of boxes after the filters.
        samples: number of samples evaluated.
        eval_time: seconds of wall-clock time, or None.
        notes: remarks for the reader of the numbers, a line each.
        by_distance: mAP and counts in rings around the ego (see :mod:`portbev_nuscenes.metrics.rings`).
    """

    curves: Mapping[tuple[str, float], Curve]
    config: DetectionConfig = field(default_factory=DetectionConfig)
    meta: Mapping[str, Any] = field(default_factory=dict)
    ground_truth_counts: Mapping[str, int] = field(default_factory=dict)
    prediction_counts: Mapping[str, int] = field(default_factory=dict)
    samples: int = 0
    eval_time: float | None = None
    notes: tuple[str, ...] = ()
    by_distance: Sequence[Mapping[str, Any]] = ()
    label_aps: dict[str, dict[float, float]] = field(init=False)
    """Class -> distance threshold [m] -> AP."""
    label_tp_errors: dict[str, dict[str, float]] = field(init=False)
    """Class -> true-positive error -> value; NaN where it is undefined for the class."""

    def __post_init__(self) -> None:
        config = self.config
        aps = {
            name: {threshold: self.curves[name, threshold].average_precision(config) for threshold in self._thresholds}
            for name in EVALUATION_CLASSES
        }
        errors = {name: {error: self._label_error(name, error) for error in TP_ERRORS} for name in EVALUATION_CLASSES}
        object.__setattr__(self, "label_aps", aps)
        object.__setattr__(self, "label_tp_errors", errors)

    @property
    def _thresholds(self) -> tuple[float, ...]:
        return self.config.distance_thresholds

    def _label_error(self, name: str, error: str) -> float:
        if error in UNDEFINED_ERRORS.get(name, ()):
            return float("nan")
        return self.curves[name, self.config.tp_threshold].error(error, self.config)

    @property
    def mean_dist_aps(self) -> dict[str, float]:
        """Class -> AP, the mean over the distance thresholds."""
        return {name: float(np.mean(list(aps.values()))) for name, aps in self.label_aps.items()}

    @property
    def mean_ap(self) -> float:
        """mAP: the mean over the ten classes; one without ground truth counts as 0."""
        return float(np.mean(list(self.mean_dist_aps.values())))

    @property
    def tp_errors(self) -> dict[str, float]:
        """True-positive error -> mean over the classes for which it is defined."""
        return {
            error: float(np.nanmean([self.label_tp_errors[name][error] for name in EVALUATION_CLASSES]))
            for error in TP_ERRORS
        }

    @property
    def tp_scores(self) -> dict[str, float]:
        """True-positive error -> its score, ``max(0, 1 - error)``."""
        return {error: max(0.0, 1.0 - value) for error, value in self.tp_errors.items()}

    @property
    def nd_score(self) -> float:
        """NDS, the nuScenes detection score: mAP and the five true-positive scores, mAP with half the weight."""
        weight = self.config.mean_ap_weight
        total = float(weight * self.mean_ap + np.sum(list(self.tp_scores.values())))
        return total / float(weight + len(TP_ERRORS))

    def summary(self) -> dict[str, Any]:
        """The content of the devkit's ``metrics_summary.json``."""
        return {
            "label_aps": {name: {str(t): ap for t, ap in aps.items()} for name, aps in self.label_aps.items()},
            "mean_dist_aps": self.mean_dist_aps,
            "mean_ap": self.mean_ap,
            "label_tp_errors": {name: dict(errors) for name, errors in self.label_tp_errors.items()},
            "tp_errors": self.tp_errors,
            "tp_scores": self.tp_scores,
            "nd_score": self.nd_score,
            "eval_time": self.eval_time,
            "cfg": self.config.serialize(),
            "meta": dict(self.meta),
        }

    def details(self) -> dict[str, dict[str, list[float]]]:
        """The content of the devkit's ``metrics_details.json``: the curves by ``class:threshold``."""
        return {
            f"{name}:{threshold}": {
                "recall": RECALL.tolist(),
                "precision": curve.precision.tolist(),
                "confidence": curve.confidence.tolist(),
                **{error: curve.errors[error].tolist() for error in _DETAIL_ORDER},
            }
            for (name, threshold), curve in self.curves.items()
        }

    def tables(self) -> dict[str, pd.DataFrame]:
        """pandas tables.

        Returns:
            ``classes``: a row per class with AP, the five errors and the numbers of boxes; the row ``all`` has means
            and sums;
            ``thresholds``: AP by class and distance threshold; the row ``all`` has the means;
            ``totals``: mAP, the five mean errors and NDS in one row.
        """
        import pandas as pd

        rows = {
            name: {
                "AP": self.mean_dist_aps[name],
                **{short: self.label_tp_errors[name][error] for error, short in ABBREVIATIONS.items()},
                "ground truth": self.ground_truth_counts.get(name, 0),
                "predictions": self.prediction_counts.get(name, 0),
            }
            for name in EVALUATION_CLASSES
        }
        rows["all"] = {
            "AP": self.mean_ap,
            **{short: self.tp_errors[error] for error, short in ABBREVIATIONS.items()},
            "ground truth": sum(self.ground_truth_counts.values()),
            "predictions": sum(self.prediction_counts.values()),
        }
        classes = pd.DataFrame.from_dict(rows, orient="index").astype({"ground truth": int, "predictions": int})
        thresholds = pd.DataFrame(self.label_aps).T.rename(columns=lambda threshold: f"AP@{threshold} m")
        thresholds.loc["all", :] = thresholds.mean()
        classes.index.name = thresholds.index.name = "class"
        means = {f"m{ABBREVIATIONS[error]}": value for error, value in self.tp_errors.items()}
        totals = pd.DataFrame([{"mAP": self.mean_ap, **means, "NDS": self.nd_score}])
        return {"classes": classes, "thresholds": thresholds, "totals": totals}

    def write(self, folder: Path | str) -> None:
        """Write ``metrics_summary.json`` and ``metrics_details.json``; a NaN becomes null, which is JSON.

        Raises:
            PortbevError: the folder cannot be written.
        """
        write_json(Path(folder) / "metrics_summary.json", without_nan(self.summary()))
        write_json(Path(folder) / "metrics_details.json", without_nan(self.details()), indent=None)


_DETAIL_ORDER = ("trans_err", "vel_err", "scale_err", "orient_err", "attr_err")


def without_nan(value: Any) -> Any:
    """The same nested value with None for NaN."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and np.isnan(value) else value
