"""The RADIal detection benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from portbev.errors import PortbevError
from portbev.evaluate.benchmark import ClassTable, Metric
from portbev.evaluate.distance import Within
from portbev.evaluate.usable import LEFT_OUT, left_out_notes, usable
from portbev.files import finite
from portbev.runs.metrics import METRICS_SCHEMA
from portbev_radial.metrics import (
    IOU_THRESHOLDS,
    OVERLAPS,
    RANGES,
    FrameBoxes,
    RadialMetrics,
    bottom_rows,
    evaluate,
    evaluate_files,
    frame_boxes,
    write_boxes,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from portbev.data.base import Dataset
    from portbev.models import Detections
    from portbev.runs.evaluated import Evaluated
    from portbev.viz.views import Views


class Annotated(Protocol):
    """What the benchmark needs of its data set besides tokens."""

    tokens: list[str]

    def truth(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Boxes (n, 7 or more) of a sample, z = centre, and labels (n,)."""
        ...


_TITLES = {
    "bev": "AP seen from above",
    "3d": "AP in space",
    "let": "AP with a tenth of the range forgiven",
}


def _ap(kind: str, quirks: str) -> Metric:
    official = quirks == "official"
    rules = "rules of the original" if official else "mended rules"
    return Metric(
        f"{kind}_ap" if official else f"{kind}_ap_fixed",
        f"{kind.upper()} AP" if official else f"{kind.upper()} AP fixed",
        f"{_TITLES[kind]}, mean over IoU 0.7 and 0.5, all ranges; {rules}",
        unit="%",
        path=(quirks, "mean_ap", kind, "overall"),
    )


def _training(key: str, name: str, title: str, unit: str = "", *, error: bool = False) -> Metric:
    path = ("fixed", "training", key)
    return Metric(key, name, f"{title}; mended rules", "lower" if error else "higher", unit, path)


class RadialBenchmark:
    """AP by overlap and range, and the training-time numbers; under the original's rules and under mended ones.

    The best checkpoint is chosen under the mended rules: the original's leave out frames without predictions, so a
    model that finds less can score more.
    """

    name = "radial"
    metrics: tuple[Metric, ...] = (
        *(_ap(kind, quirks) for kind in OVERLAPS for quirks in ("official", "fixed")),
        _training("mAP", "mAP", "mean precision over the scores 0.1 to 0.9"),
        _training("mAR", "mAR", "mean recall over the scores 0.1 to 0.9"),
        _training("F1", "F1", "harmonic mean of mAP and mAR"),
        _training("range_error", "RE", "range error of the pairs", "m", error=True),
        _training("angle_error", "AE", "angle error of the pairs", "deg", error=True),
    )
    headline: tuple[str, ...] = ("bev_ap", "bev_ap_fixed", "3d_ap", "3d_ap_fixed")
    best = "bev_ap_fixed"
    class_title = "AP [%] per overlap, IoU and range, rules of the original"

    def check(self, dataset: Dataset) -> list[str]:
        """Nothing: boxes are checked where they are read."""
        return []

    def encode(self, found: Detections, token: str, frame2global: NDArray[Any]) -> dict[str, Any]:
        """The sample's boxes in the radar's frame; RADIal has one class, so labels say nothing."""
        scored, left = usable(found)
        sample = {"rows": bottom_rows(scored.boxes, scored.scores).tolist()}
        return {**sample, LEFT_OUT: left} if left else sample

    def write(self, samples: Sequence[dict[str, Any]], dataset: Dataset, path: Path) -> list[str]:
        """Write ``portbev.radial/1``."""
        meta = {"benchmark": self.name, "split": dataset.split, "version": dataset.version}
        write_boxes(path, _merge(samples, dataset.tokens), meta=meta)
        return left_out_notes(samples)

    def score(
        self, samples: Sequence[dict[str, Any]], dataset: Dataset, *, within: Within | None = None
    ) -> dict[str, Any]:
        """Score against the data set's boxes."""
        result = evaluate(_merge(samples, dataset.tokens), ground_truth(cast("Annotated", dataset)), within)
        record = metrics_record(result, split=dataset.split, version=dataset.version)
        record["notes"] += left_out_notes(samples)
        return record

    def recognises(self, path: Path, start: bytes) -> bool:
        """Our format names its schema; the original's results are a NumPy file."""
        return path.suffix == ".npy" or b'"portbev.radial/1"' in start

    def open_views(self, evaluated: Evaluated, *, data_root: str | Path | None, version: str | None) -> Views:
        """The frames of an evaluation's predictions. There is one version of RADIal."""
        from portbev_radial.views import open_radial

        return open_radial(evaluated, data_root, version)

    def score_file(
        self,
        results: Path,
        *,
        data_root: str | None,
        version: str | None,
        split: str,
        within: Within | None = None,
    ) -> dict[str, Any]:
        """Score results in our format or the original's; see :func:`evaluate_results`. There is one version."""
        if version is not None:
            raise PortbevError("this data has no versions", where="--version", cure="Leave it out")
        return evaluate_results(results, data_root=data_root, split=split, within=within)

    def class_table(self, record: Mapping[str, Any]) -> ClassTable:
        """AP and recall per overlap, IoU threshold and range; pairs and counts under the mended rules."""
        rows = []
        for kind, threshold, name in _cells():
            official, fixed = (_cell(record, quirks, kind, threshold, name) for quirks in ("official", "fixed"))
            counts = [fixed["boxes"][count] for count in ("pairs", "predictions", "ground_truth")]
            figures = [official["AP"], fixed["AP"], official["recall"], fixed["recall"]]
            rows.append((_row_name(kind, threshold, name), [*figures, *counts]))
        columns = ["AP", "AP fixed", "recall", "recall fixed", "pairs", "predicted", "annotated"]
        return ClassTable(columns, rows, head="overlap, IoU, range")

    def class_figures(self, record: Mapping[str, Any]) -> dict[str, float | None]:
        """AP per overlap, IoU threshold and range, under the original's rules."""
        return {_row_name(*cell): _cell(record, "official", *cell).get("AP") for cell in _cells()}


def _merge(samples: Sequence[dict[str, Any]], tokens: Sequence[str]) -> FrameBoxes:
    return frame_boxes([sample["rows"] for sample in samples], tokens, scored=True)


def ground_truth(dataset: Annotated) -> FrameBoxes:
    """All annotated boxes of a data set."""
    boxes = [bottom_rows(dataset.truth(index)[0]) for index in range(len(dataset.tokens))]
    return frame_boxes(boxes, dataset.tokens, scored=False)


def metrics_record(result: RadialMetrics, *, split: str, version: str) -> dict[str, Any]:
    """The content of ``metrics.json`` that comes from the metrics alone. NaN (not defined) becomes None."""
    summary = result.summary()
    record = {"schema": METRICS_SCHEMA, "benchmark": RadialBenchmark.name, **summary}
    record.update(samples=record.pop("frames"), split=split, version=version)
    cleaned: dict[str, Any] = finite(record)
    return cleaned


def evaluate_results(
    results: Path | str, *, data_root: Path | str | None, split: str, within: Within | None = None
) -> dict[str, Any]:
    """Score anyone's results on a split: ``portbev.radial/1``, or the original's ``results_3d.npy``.

    Args:
        data_root: raw recordings or the converted layout.
        within: score only what lies at these distances.

    Returns:
        The content of ``metrics.json``.

    Raises:
        DataError: a root without that split.
        ResultsError: results that cannot be scored; says which frame and box.
    """
    from portbev.data.root import open_root
    from portbev_radial.config import RadialData
    from portbev_radial.dataset import RadialDataset

    section = RadialData(eval_split=split, radar="none", camera=False)
    dataset = RadialDataset(section, open_root(data_root), "eval", seed=0)
    result = evaluate_files(results, ground_truth(dataset), within)
    return metrics_record(result, split=split, version=dataset.version)


def _cells() -> list[tuple[str, float, str]]:
    return [(kind, threshold, name) for kind in OVERLAPS for threshold in IOU_THRESHOLDS for name in RANGES]


def _row_name(kind: str, threshold: float, name: str) -> str:
    return f"{kind} {threshold} {name}"


def _cell(record: Mapping[str, Any], quirks: str, kind: str, threshold: float, name: str) -> dict[str, Any]:
    found = ((record.get(quirks) or {}).get("reported") or {}).get(kind) or {}
    cell: dict[str, Any] = found.get(f"IoU{threshold}/{name}") or {}
    return cell
