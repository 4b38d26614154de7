"""The tables as CSV, every figure in full."""

from __future__ import annotations

import csv
import io
from typing import Any

from portbev.parity.document import ParityReport
from portbev.parity.render.comparisons import FIELDS, in_full

_FACTS = (
    "group", "is_baseline", "status", "family", "benchmark", "backend", "emulated", "device_name", "world_size",
    "precision", "amp", "deterministic", "bits", "seed", "step", "config_digest", "data_digest",
    "eval_split", "eval_samples",
)  # fmt: skip


def run_table(report: ParityReport) -> str:
    """A row per run, then a row per published figure (``kind`` tells them apart)."""
    keys = [metric.key for metric in report.metrics]
    head = ["kind", "run", "source", *_FACTS, *keys, *(f"{key}_difference" for key in keys)]
    rows: list[list[Any]] = []
    for run in report.runs:
        facts = [getattr(run, fact) for fact in _FACTS]
        rows.append(
            [
                "run",
                run.label,
                run.path,
                *facts,
                *(run.values.get(k) for k in keys),
                *(run.differences.get(k) for k in keys),
            ]
        )
    for table in report.published:
        blank = [{"family": table.family, "benchmark": table.benchmark}.get(fact) for fact in _FACTS]
        rows += [
            [
                "published",
                row.name,
                table.source.strip(),
                *blank,
                *(row.values.get(k) for k in keys),
                *([None] * len(keys)),
            ]
            for row in table.rows
        ]
    return _csv(head, rows)


def class_table(report: ParityReport) -> str:
    """A row per group and class: the benchmark's figure for it in each run."""
    labels = [run.label for run in report.runs]
    rows = []
    for group in report.groups:
        for name in group.classes:
            aps = [group.class_aps.get(label, {}).get(name) for label in labels]
            rows.append([group.number, name, *aps])
    return _csv(["group", "class", *labels], rows)


def comparison_table(report: ParityReport) -> str:
    """A row per comparison: what was tested, how, and the verdict."""
    rows = [
        [group, of, *(getattr(one, name) for name in FIELDS), " ".join(repr(point) for point in one.points), one.says]
        for group, of, one in in_full(report)
    ]
    return _csv(["group", "of", *FIELDS, "points", "says"], rows)


def _csv(head: list[str], rows: list[list[Any]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([["" if cell is None else cell for cell in row] for row in rows])
    return text.getvalue()
