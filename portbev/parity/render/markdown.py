"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from portbev.evaluate.benchmark import Metric, find_benchmark
from portbev.parity.document import Group, ParityReport, PublishedTable, TermComparison
from portbev.parity.render import ledger, text
from portbev.parity.render.comparisons import HEAD, notes, short
from portbev.parity.render.limits import limits
from portbev.parity.render.view import Cell, GroupView
from portbev.parity.table import columns

TERMS = 4
"""Up to so many runs have a table of their loss terms each; ``report.json`` has them all."""


def to_markdown(report: ParityReport, pictures: Mapping[int, str]) -> str:
    """``pictures``: group number -> file name of its loss curves, beside the Markdown file."""
    parts = ["# Parity report", *_gate(report), *_list(report.summary)]
    for line in report.warnings:
        parts += ["", f"> {line}"]
    for group in report.groups:
        parts += _group(GroupView(report, group), pictures.get(group.number))
    for table in report.published_beside(None):
        parts += _published(report, table, columns(find_benchmark(table.benchmark)), "##")
    parts += ["", "## The runs", "", *_runs(report)]
    parts += ["", "## Who computed each operator", "", *_ledger(report)]
    parts += _evidence(report)
    labels = [run.label for run in report.runs]
    parts += ["", "## Environment", "", *_settings(ledger.settings(report.environment, labels))]
    parts += ["", "## Configuration"]
    for group in report.groups:
        parts += ["", f"Group {group.number}:"] if len(report.groups) > 1 else []
        parts += ["", *_settings(ledger.settings(group.configuration, group.runs))]
    parts += ["", "## What this report does not claim", *_list(limits(report))]
    parts += ["", f"Content `{report.content_hash}`."] if report.content_hash else []
    return "\n".join(parts).rstrip() + "\n"


def _gate(report: ParityReport) -> list[str]:
    gate = report.gate
    if gate is None:
        return []
    return [
        "",
        f"**{'Passed' if gate.passed else 'Failed'}**: {', '.join(gate.required)} required.",
        *_list(gate.reasons),
    ]


def _group(view: GroupView, picture: str | None) -> list[str]:
    report, group = view.report, view.group
    title = f"## Group {group.number}: {view.title}" if len(report.groups) > 1 else f"## {view.title}"
    data, configuration = view.baseline.data_digest, view.baseline.config_digest
    parts = ["", title, "", f"Data `{text.shortened(data)}`, configuration `{text.shortened(configuration)}`."]
    if group.reference is not None:
        parts += ["", f"Recorded original: {group.reference.says.rstrip('.')}."]
    names = [metric.name for metric in view.metrics]
    if view.seeded:
        rows = [[side.label, str(len(side.counted)), *map(_cell, view.side_cells(side))] for side in group.sides]
        parts += ["", "Mean and standard deviation over seeds; differences to the first side.", ""]
        parts += [*_table(["side", "runs", *names], rows), "", "### Each run"]
    to = "the baseline's run of the same seed" if view.seeded else f"**{group.baseline}**"
    rows = [[run.label, *map(_cell, view.run_cells(run))] for run in view.entries]
    parts += ["", f"Differences are to {to}.", "", *_table(["run", *names], rows)]
    parts += _sides(view)
    if view.most is not None:
        parts += ["", f"### {group.class_title}", "", *_classes(view)]
    parts += ["", "### Losses", ""]
    if picture:
        parts += [f"![Loss curves of {', '.join(name for name in view.class_columns)}]({picture})", ""]
    parts += _losses(group)
    for table in report.published_beside(group):
        parts += _published(report, table, group.metrics, "###")
    return parts


def _cell(cell: Cell) -> str:
    parts = [cell.value, cell.spread, f"({cell.change})" if cell.change else ""]
    return " ".join(part for part in parts if part)


def _sides(view: GroupView) -> list[str]:
    """How each side stands to the baseline side, figure by figure, and both to the recorded original."""
    parts, group = [], view.group
    for verdict in group.verdicts:
        rows = [one for kind in ("accuracy", "class", "cost") for one in view.compared(verdict, kind)]
        if rows:
            parts += [
                "",
                f"### {verdict.side} against {verdict.baseline}",
                "",
                *_table(HEAD, [short(one) for one in rows]),
            ]
            parts += _list(f"Not judged: {note}." for note in notes(rows))
    if group.reference is not None and group.reference.comparisons:
        title = ", ".join(part for part in (group.reference.title, group.reference.row) if part)
        against = [[one.side, *short(one)] for one in group.reference.comparisons]
        parts += ["", f"### Recorded original: {title}", "", *_table(["side", *HEAD], against)]
        parts += ["", f"Source: {group.reference.source}"] if group.reference.source else []
    return parts


def _classes(view: GroupView) -> list[str]:
    rows = []
    for name in view.group.classes:
        values = [view.class_value(name, column) for column in view.class_columns]
        rows.append([name, *(text.NONE if value is None else f"{value:.4f}" for value in values)])
    return _table(["class", *view.class_columns], rows)


def _losses(group: Group) -> list[str]:
    parts: list[str] = []
    for curve in group.curves:
        band = [f"{curve.band.says}."] if curve.band is not None else []
        parts += [f"**{curve.run}** against {curve.baseline}: {curve.verdict}.", *_list([*band, *curve.remarks]), ""]
        if curve.terms and not curve.identical and len(group.curves) <= TERMS:
            parts += [*_terms(curve.terms), ""]
    return parts


def _terms(terms: Sequence[TermComparison]) -> list[str]:
    rows = [
        [
            term.term,
            str(term.steps),
            "bit-identical" if term.identical else f"step {term.first_step}",
            _float(term.first_difference),
            "" if term.largest_step is None else f"{_float(term.largest_difference)} (step {term.largest_step})",
        ]
        for term in terms
    ]
    return _table(["term", "steps", "first difference", "its size", "largest difference"], rows)


def _published(report: ParityReport, table: PublishedTable, metrics: Sequence[Metric], level: str) -> list[str]:
    keys = table.columns(metrics)
    rows = [
        [f"{row.name} *(published)*", *(text.as_published(metric, row.values.get(metric.key)) for metric in keys)]
        for row in table.rows
    ]
    setting = "; ".join(f"{key}: {value}" for key, value in table.setting.items())
    marks = [f"{row.name}: {note}" for row in table.rows for note in row.notes]
    says = [line for one in report.published_verdicts if one.title == table.title for line in one.says]
    return [
        "",
        f"{level} Published: {table.title}",
        "",
        "Published by others, not measured here, and on other data than",
        "the runs above: shown beside them, not compared with them.",
        "",
        table.what.strip(),
        "",
        *_table(["row", *(metric.name for metric in keys)], rows),
        *_list(says),
        "",
        f"Source: {table.source.strip()}",
        "",
        f"Setting: {setting}",
        *_list([*marks, *table.caveats]),
    ]


def _runs(report: ParityReport) -> list[str]:
    head = ["run", "group", "backend", "device", "devices", "precision", "amp", "bits", "seed", "steps", "status"]
    rows = [
        [
            run.label + (" *(baseline)*" if run.is_baseline else ""),
            str(run.group),
            run.backend,
            *(_known(value) for value in (run.device_name, run.world_size, run.precision, run.amp, run.bits, run.seed)),
            f"{_known(run.step)} of {_known(run.total_steps)}",
            run.status,
        ]
        for run in report.runs
    ]
    remarks = [f"**{run.label}**: {remark}" for run in report.runs for remark in run.remarks]
    return [*_table(head, rows), *_list(remarks)]


def _ledger(report: ParityReport) -> list[str]:
    rows = ledger.rows(report)
    if not rows:
        return ["No run has called an operator of `portbev.ops`."]
    head = ["operator", "direction", *map(_head, ledger.columns(report))]
    parts = _table(head, [[f"`{row.operator}`", row.direction, *row.cells] for row in rows])
    passed = [
        [f"`{operator}`", _head([one.run for one in records]), records[0].provider, records[0].reason,
         ledger.times([one.times for one in records])]
        for operator, records in ledger.passed_over(report)
    ]  # fmt: skip
    if not passed:
        return [*parts, "", "No provider was passed over."]
    return [*parts, "", "Passed over:", "", *_table(["operator", "run", "provider", "reason", "times"], passed)]


def _evidence(report: ParityReport) -> list[str]:
    if not report.evidence:
        return []
    rows = []
    for one in report.evidence:
        mark = " (emulated)" if one.emulated and "emulated" not in (one.backend or "") else ""
        file = f"`{one.file}` ({one.schema_}, SHA-256 `{text.shortened(one.sha256)}`)"
        said = "; ".join(one.says) or text.NONE
        rows.append([one.what, f"{_known(one.backend)}{mark}", _known(one.verdict), said, file])
    return ["", "## Further evidence", "", *_table(["what", "backend", "verdict", "in its words", "file"], rows)]


def _settings(found: ledger.Settings) -> list[str]:
    if found.alone:
        return _table(["setting", "value"], [[f"`{key}`", value] for key, value in found.common.items()])
    parts = []
    if found.rows:
        rows = [[f"`{key}`", *(_known(value) for value in values)] for key, values in found.rows]
        parts += _table(["setting", *map(_head, found.heads)], rows)
    for key, values in found.scattered:
        parts += ["", f"- `{key}`: " + "; ".join(f"{_known(value)} ({', '.join(labels)})" for value, labels in values)]
    if not parts:
        return ["The same in all runs."]
    return [*parts, "", f"{len(found.common)} further settings are the same in all runs."]


def _head(labels: Sequence[str]) -> str:
    return labels[0] if len(labels) == 1 else f"{labels[0]} and {len(labels) - 1} more"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [_row(head), "|" + " --- |" * len(head)]
    return lines + [_row(row) for row in rows]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _list(lines: Iterable[str]) -> list[str]:
    items = [f"- {line}" for line in lines]
    return ["", *items] if items else []


def _known(value: object) -> str:
    return text.NONE if value is None else str(value)


def _float(value: float | None) -> str:
    return text.NONE if value is None else f"{value:.3e}"
