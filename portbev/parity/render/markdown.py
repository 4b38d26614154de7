"""The report as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from portbev.evaluate.benchmark import Metric, find_benchmark
from portbev.parity.document import (
    Differences,
    Group,
    OperatorLedger,
    ParityReport,
    PublishedTable,
    RunEntry,
    TermComparison,
)
from portbev.parity.render import text
from portbev.parity.render.comparisons import HEAD, notes, short
from portbev.parity.render.ledger import called
from portbev.parity.render.limits import limits
from portbev.parity.table import columns


def to_markdown(report: ParityReport, pictures: Mapping[int, str]) -> str:
    """``pictures``: group number -> file name of its loss curves, beside the Markdown file."""
    parts = ["# Parity report", *_gate(report), *_list(report.summary)]
    for line in report.warnings:
        parts += ["", f"> {line}"]
    parts += ["", "## Runs", "", *_runs(report)]
    for group in report.groups:
        parts += _group(report, group, pictures.get(group.number))
    for table in report.published_beside(None):
        parts += _published(report, table, columns(find_benchmark(table.benchmark)), "##")
    parts += _evidence(report)
    parts += ["", "## Environment", "", *_differences(report.environment, [run.label for run in report.runs])]
    parts += ["", "## Configuration"]
    for group in report.groups:
        parts += ["", f"Group {group.number}:"] if len(report.groups) > 1 else []
        parts += ["", *_differences(group.configuration, group.runs)]
    parts += ["", "## Who computed each operator", "", *_ledger(report)]
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


def _runs(report: ParityReport) -> list[str]:
    head = ["run", "group", "backend", "device", "devices", "precision", "amp", "bits", "seed", "steps", "status"]
    rows = [
        [
            run.label + (" *(baseline)*" if run.is_baseline else ""),
            str(run.group),
            run.backend,
            *(_cell(value) for value in (run.device_name, run.world_size, run.precision, run.amp, run.bits, run.seed)),
            f"{_cell(run.step)} of {_cell(run.total_steps)}",
            run.status,
        ]
        for run in report.runs
    ]
    remarks = [f"**{run.label}**: {remark}" for run in report.runs for remark in run.remarks]
    return [*_table(head, rows), *_list(remarks)]


def _group(report: ParityReport, group: Group, picture: str | None) -> list[str]:
    entries = [report.run(label) for label in group.runs]
    baseline = report.run(group.baseline)
    title = f"## Group {group.number}: {group.title}" if len(report.groups) > 1 else f"## {group.title}"
    head = ["run", *(metric.name for metric in group.metrics)]
    rows = [[run.label, *_figures(group, run, baseline)] for run in entries]
    parts = ["", title, "", f"Baseline: **{group.baseline}**. Differences are to it.", "", *_table(head, rows)]
    parts += _sides(group)
    if any(ap is not None for aps in group.class_aps.values() for ap in aps.values()):
        parts += ["", f"### {group.class_title}", "", *_classes(group)]
    parts += ["", "### Losses", ""]
    if picture:
        parts += [f"![Loss curves of {', '.join(group.runs)}]({picture})", ""]
    for curve in group.curves:
        parts += [f"**{curve.run}** against {curve.baseline}: {curve.verdict}.", *_list(curve.remarks), ""]
        if curve.terms and not curve.identical:
            parts += [*_terms(curve.terms), ""]
    for table in report.published_beside(group):
        parts += _published(report, table, group.metrics, "###")
    return parts


def _sides(group: Group) -> list[str]:
    """How each side stands to the baseline side, figure by figure, and both to the recorded original."""
    parts = []
    for verdict in group.verdicts:
        rows = [one for one in group.comparisons if one.side == verdict.side]
        if not rows:
            continue
        parts += ["", f"### {verdict.side} against {verdict.baseline}", "", *_table(HEAD, [short(one) for one in rows])]
        parts += _list(f"Not judged: {note}." for note in notes(rows))
    if group.reference is not None:
        title = ", ".join(part for part in (group.reference.title, group.reference.row) if part)
        parts += ["", "### Recorded original" + (f": {title}" if title else ""), "", group.reference.says]
        if group.reference.comparisons:
            against = [[one.side, *short(one)] for one in group.reference.comparisons]
            parts += ["", *_table(["side", *HEAD], against)]
        parts += ["", f"Source: {group.reference.source}"] if group.reference.source else []
    return parts


def _evidence(report: ParityReport) -> list[str]:
    if not report.evidence:
        return []
    rows = []
    for one in report.evidence:
        mark = " (emulated)" if one.emulated and "emulated" not in (one.backend or "") else ""
        file = f"`{one.file}` ({one.schema_}, SHA-256 `{one.sha256[:16]}`)"
        rows.append(
            [one.what, f"{_cell(one.backend)}{mark}", _cell(one.verdict), "; ".join(one.says) or text.NONE, file]
        )
    return ["", "## Further evidence", "", *_table(["what", "backend", "verdict", "in its words", "file"], rows)]


def _figures(group: Group, run: RunEntry, baseline: RunEntry) -> list[str]:
    cells = []
    for metric in group.metrics:
        change = text.difference(metric, run.differences.get(metric.key), baseline.values[metric.key])
        cells.append(text.number(metric, run.values[metric.key]) + (f" ({change})" if change else ""))
    return cells


def _classes(group: Group) -> list[str]:
    rows = []
    for name in group.classes:
        aps = [group.class_aps[label].get(name) for label in group.runs]
        rows.append([name, *(text.NONE if ap is None else f"{ap:.4f}" for ap in aps)])
    return _table(["class", *group.runs], rows)


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
    notes = [f"{row.name}: {note}" for row in table.rows for note in row.notes]
    parts = [
        "",
        f"{level} Published: {table.title}",
        "",
        "Published by others, not measured here, and on other data than",
    ]
    parts += ["the runs above: shown beside them, not compared with them.", "", table.what.strip()]
    parts += ["", *_table(["row", *(metric.name for metric in keys)], rows), "", f"Source: {table.source.strip()}"]
    says = [line for one in report.published_verdicts if one.title == table.title for line in one.says]
    parts += _list(says)
    return [*parts, "", f"Setting: {setting}", *_list([*notes, *table.caveats])]


def _differences(settings: Differences, labels: Sequence[str]) -> list[str]:
    if len(labels) < 2:
        rows = [[f"`{key}`", value] for key, value in settings.common.items()]
        return _table(["setting", labels[0]], rows)
    if not settings.differing:
        return ["The same in all runs."]
    rows = [[f"`{row.key}`", *(_cell(row.values[label]) for label in labels)] for row in settings.differing]
    return [
        *_table(["setting", *labels], rows),
        "",
        f"{len(settings.common)} further settings are the same in all runs.",
    ]


def _ledger(report: ParityReport) -> list[str]:
    ledger = called(report.ledger)
    if not ledger:
        return ["No run has called an operator of `portbev.ops`."]
    labels = [run.label for run in report.runs]
    rows = []
    for page in ledger:
        for direction, by_run in page.called().items():
            rows.append([f"`{page.operator}`", direction, *(text.calls(by_run[label]) for label in labels)])
    return [*_table(["operator", "direction", *labels], rows), *_passed_over(ledger)]


def _passed_over(ledger: Sequence[OperatorLedger]) -> list[str]:
    rows = [
        [f"`{page.operator}`", passed.run, passed.provider, passed.reason, f"{passed.times:,}"]
        for page in ledger
        for passed in page.passed_over
    ]
    if not rows:
        return ["", "No provider was passed over."]
    return ["", "Passed over:", "", *_table(["operator", "run", "provider", "reason", "times"], rows)]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [_row(head), "|" + " --- |" * len(head)]
    return lines + [_row(row) for row in rows]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"


def _list(lines: Iterable[str]) -> list[str]:
    items = [f"- {line}" for line in lines]
    return ["", *items] if items else []


def _cell(value: object) -> str:
    return text.NONE if value is None else str(value)


def _float(value: float | None) -> str:
    return text.NONE if value is None else f"{value:.3e}"
