"""The result of an evaluation, with the original's quirks and without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from portbev.files import finite, write_json
from portbev_radial.metrics.constants import IOU_THRESHOLDS, OVERLAPS, RANGES, TP_ERRORS, Quirks
from portbev_radial.metrics.reported import Cell, Score
from portbev_radial.metrics.training import TrainingScore

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Scores:
    """Every number under one set of rules.

    Attributes:
        reported: (overlap, IoU threshold, range bin) -> score; keys as in ``OVERLAPS``, ``IOU_THRESHOLDS``, ``RANGES``.
        training: the evaluation that runs during training.
        training_fixed_size: the same with every box set to 4 x 1.8 m and yaw 0.
    """

    reported: Mapping[Cell, Score]
    training: TrainingScore
    training_fixed_size: TrainingScore

    def mean_ap(self, overlap: str, range_bin: str = "overall") -> float:
        """AP [per cent], the mean over the two IoU thresholds: the original's column "Overall"."""
        return float(
            np.mean([s.ap for (kind, _, name), s in self.reported.items() if (kind, name) == (overlap, range_bin)])
        )

    def summary(self) -> dict[str, Any]:
        """Nested plain values; NaN where something is undefined."""
        return {
            "reported": {
                kind: {
                    f"IoU{t}/{name}": _plain(self.reported[kind, t, name]) for t in IOU_THRESHOLDS for name in RANGES
                }
                for kind in OVERLAPS
            },
            "mean_ap": {kind: {name: self.mean_ap(kind, name) for name in RANGES} for kind in OVERLAPS},
            "training": self.training.named(),
            "training_fixed_size": self.training_fixed_size.named(),
        }


@dataclass(frozen=True)
class RadialMetrics:
    """RADIal's metrics.

    Attributes:
        official: computed as in the original, with its quirks.
        fixed: computed without the quirks.
        frames, ground_truth, predictions: numbers of frames and boxes.
        notes: remarks for the reader of the numbers, a line each.
        by_distance: AP and counts in rings around the radar (see :mod:`portbev_radial.metrics.rings`).
    """

    official: Scores
    fixed: Scores
    frames: int
    ground_truth: int
    predictions: int
    notes: tuple[str, ...] = ()
    by_distance: Sequence[Mapping[str, Any]] = ()

    def scores(self, quirks: Quirks) -> Scores:
        """The numbers under one set of rules."""
        return self.official if quirks == "official" else self.fixed

    def summary(self) -> dict[str, Any]:
        """All numbers as JSON values; an undefined number becomes None."""
        summary: dict[str, Any] = finite(
            {
                "official": self.official.summary(),
                "fixed": self.fixed.summary(),
                "frames": self.frames,
                "boxes": {"ground_truth": self.ground_truth, "predictions": self.predictions},
                "by_distance": list(self.by_distance),
                "notes": list(self.notes),
            }
        )
        return summary

    def tables(self) -> dict[str, pd.DataFrame]:
        """pandas tables with the columns ``official`` and ``fixed`` side by side.

        Returns:
            ``reported``: a row per overlap, IoU threshold ("mean": over both) and range; AP and recall [per cent];
            ``pairs``: the same rows (without means) with the mean IoU and errors of the matched pairs;
            ``training``: mAP, mAR, F1, range error [m] and angle error [degrees], also for boxes of fixed size.
        """
        return {"reported": self._reported(), "pairs": self._pairs(), "training": self._training()}

    def write(self, path: Path | str) -> None:
        """Write the summary as JSON, atomically.

        Raises:
            PortbevError: the file cannot be written.
        """
        write_json(path, self.summary())

    def _both(self) -> dict[Quirks, Scores]:
        return {"official": self.official, "fixed": self.fixed}

    def _reported(self) -> pd.DataFrame:
        rows: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
        for kind in OVERLAPS:
            for name in RANGES:
                cells: dict[str, list[Cell]] = {str(t): [(kind, t, name)] for t in IOU_THRESHOLDS}
                cells["mean"] = [(kind, t, name) for t in IOU_THRESHOLDS]
                for label, keys in cells.items():
                    row = rows.setdefault((kind, label, name), {})
                    for metric in ("AP", "recall"):
                        for quirks, scores in self._both().items():
                            values = [getattr(scores.reported[key], metric.lower()) for key in keys]
                            row[metric, quirks] = float(np.mean(values))
        return _frame(rows)

    def _pairs(self) -> pd.DataFrame:
        rows: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
        for quirks, scores in self._both().items():
            for (kind, threshold, name), score in scores.reported.items():
                row = rows.setdefault((kind, str(threshold), name), {})
                row["IoU", quirks] = score.tp_iou if score.pairs else float("nan")
                row.update({(error, quirks): value for error, value in score.tp_errors.items()})
        order = [(metric, quirks) for metric in ("IoU", *TP_ERRORS) for quirks in self._both()]
        return _frame(rows)[order]

    def _training(self) -> pd.DataFrame:
        import pandas as pd

        columns = {}
        for quirks, scores in self._both().items():
            columns["boxes", quirks] = scores.training.named()
            columns["4 x 1.8 m", quirks] = scores.training_fixed_size.named()
        return pd.DataFrame(columns)[["boxes", "4 x 1.8 m"]]


def _frame(rows: Mapping[tuple[str, str, str], Mapping[tuple[str, str], float]]) -> pd.DataFrame:
    import pandas as pd

    index = pd.MultiIndex.from_tuples(list(rows), names=["overlap", "IoU", "range"])
    columns = pd.MultiIndex.from_tuples(list(next(iter(rows.values()))))
    return pd.DataFrame([[row[column] for column in columns] for row in rows.values()], index, columns)


def _plain(score: Score) -> dict[str, Any]:
    return {
        "AP": score.ap,
        "recall": score.recall,
        "tp_iou": score.tp_iou,
        "tp_errors": dict(score.tp_errors),
        "boxes": {"ground_truth": score.ground_truth, "predictions": score.predictions, "pairs": score.pairs},
    }
