"""Fill in the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from portbev import __version__
from portbev.evaluate.benchmark import find_benchmark, headline_metrics
from portbev.files import finite
from portbev.parity import curves, differences, table
from portbev.parity.document import Group, ParityReport, RunEntry
from portbev.parity.grouping import RunGroup, group_runs
from portbev.parity.published import load_published
from portbev.parity.render.text import difference
from portbev.parity.runs import LabelledRun, load_runs
from portbev.parity.settings import other_experiment

EMULATED = (
    "A run marked (emulated) was computed on the host CPU by stand-ins for the vendor's packages. It proves that the "
    "logic is portable: placement, dispatch, argument layout and limits. It says nothing about the vendor's numerics "
    "or speed."
)


def build_report(
    paths: Sequence[Path | str], *, baseline: str | None = None, published: Sequence[str] = ()
) -> ParityReport:
    """Compare run directories.

    Args:
        paths: run directories; the first run of each group is its baseline.
        baseline: name or path of another run to compare with.
        published: names of shipped tables, or YAML files, to be shown beside the runs.

    Raises:
        PortbevError: a run or a published table cannot be read, or ``baseline`` is none of the runs.
    """
    return report_on(load_runs(paths), baseline=baseline, published=published)


def report_on(
    runs: Sequence[LabelledRun], *, baseline: str | None = None, published: Sequence[str] = ()
) -> ParityReport:
    """:func:`build_report` for runs that are read already."""
    groups = group_runs(runs, baseline)
    filled = [_group(number, group) for number, group in enumerate(groups, 1)]
    entries = [_entry(run, number, group) for number, group in enumerate(groups, 1) for run in group.runs]
    ordered = [run for group in groups for run in group.runs]
    return ParityReport(
        portbev=__version__,
        summary=_summary(groups, filled, entries),
        warnings=_warnings(groups, entries),
        metrics=table.all_columns([group.key.benchmark for group in groups]),
        runs=entries,
        groups=filled,
        environment=differences.environment(ordered),
        ledger=differences.ledger([group.runs for group in groups]),
        published=[load_published(name) for name in published],
    )


def _entry(run: LabelledRun, number: int, group: RunGroup) -> RunEntry:
    record, metrics = run.record, run.metrics
    is_baseline = run is group.baseline
    return RunEntry(
        label=run.label,
        path=str(run.path),
        group=number,
        is_baseline=is_baseline,
        name=record.name,
        status=record.status,
        family=record.model.family,
        benchmark=record.data.benchmark,
        parameters=record.model.parameters,
        backend=record.backend.label,
        device_name=_device(run),
        emulated=record.backend.emulated,
        world_size=record.backend.world_size,
        precision=record.precision,
        amp=record.amp,
        deterministic=record.deterministic,
        bits=record.bits,
        seed=record.seed,
        config_digest=record.config_digest,
        data_digest=record.data.digest,
        data_version=record.data.version,
        eval_split=record.data.eval_split,
        eval_samples=None if metrics is None else metrics.samples,
        evaluated_step=None if metrics is None else metrics.step,
        evaluated_weights=None if metrics is None else metrics.weights,
        step=record.progress.step,
        total_steps=record.progress.total_steps,
        created=record.created,
        finished=record.finished,
        remarks=_remarks(run, group.baseline),
        values=table.values(run),
        differences={} if is_baseline else table.differences(run, group.baseline),
    )


def _device(run: LabelledRun) -> str:
    backend = run.record.backend
    said = "emulated" in backend.device_name.lower()
    return f"{backend.device_name} (emulated)" if backend.emulated and not said else backend.device_name


def _remarks(run: LabelledRun, baseline: LabelledRun) -> list[str]:
    record, remarks = run.record, []
    if not run.finished:
        progress = record.progress
        error = f": {record.error}" if record.error else ""
        remarks.append(f"not finished ({record.status} at step {progress.step} of {progress.total_steps}){error}")
    if run.metrics is None:
        remarks.append("not evaluated: no metrics.json")
    elif not run.metrics.scored:
        remarks.append(f"not scored: split {run.metrics.split} has no annotations")
    if run is not baseline:
        remarks += _against(run, baseline)
    times = len(record.resumed)
    if times:
        remarks.append(f"resumed {times} time{'s' if times > 1 else ''}")
    return [*remarks, *run.oddities, *(f"warned in the run: {text}" for text in record.warnings)]


def _against(run: LabelledRun, baseline: LabelledRun) -> list[str]:
    """What to know about a run when it is compared with ``baseline``."""
    remarks, seed, other = [], run.record.seed, baseline.record.seed
    keys = [key for key in differences.reported_keys(run, baseline) if key != "train.seed"]
    if keys:
        remarks.append(f"other settings than {baseline.label}: {_some(keys)}")
    if seed != other:
        remarks.append(f"another seed than {baseline.label} ({seed} and {other})")
    why = table.why_not_comparable(run, baseline)
    if why and run.metrics is not None:
        remarks.append(f"accuracy is not compared: {why}")
    return remarks


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _group(number: int, group: RunGroup) -> Group:
    benchmark = find_benchmark(group.key.benchmark)
    figures = {
        run.label: finite(benchmark.class_figures({} if run.metrics is None else run.metrics.content))
        for run in group.runs
    }
    others = [run for run in group.runs if run is not group.baseline]
    return Group(
        number=number,
        title=group.title,
        baseline=group.baseline.label,
        runs=[run.label for run in group.runs],
        family=group.key.family,
        benchmark=benchmark.name,
        metrics=table.columns(benchmark),
        class_title=benchmark.class_title,
        classes=list(dict.fromkeys(name for by_class in figures.values() for name in by_class)),
        class_aps=figures,
        curves=[curves.compare_curves(run, group.baseline) for run in others],
        configuration=differences.configuration(group.runs),
    )


def _summary(groups: Sequence[RunGroup], filled: Sequence[Group], entries: Sequence[RunEntry]) -> list[str]:
    """What a reader in a hurry needs: a sentence per compared run."""
    lines = []
    for group, full in zip(groups, filled, strict=True):
        if len(group.runs) == 1:
            lines.append(f"{group.baseline.label}: alone in its group ({group.title}), compared with nothing.")
        for comparison in full.curves:
            entry = next(entry for entry in entries if entry.label == comparison.run)
            text = f"{comparison.run} against {comparison.baseline}, losses: {comparison.verdict}"
            shown = {metric.key for metric in headline_metrics(find_benchmark(group.key.benchmark))}
            parts = [
                f"{metric.name} {difference(metric, entry.differences[metric.key])}"
                for metric in full.metrics
                if metric.key in shown and entry.differences.get(metric.key) is not None
            ]
            lines.append(text + (f"; {', '.join(parts)}" if parts else "") + ".")
    return lines


def _between(groups: Sequence[RunGroup]) -> list[str]:
    """In which keys groups differ that have the same family, benchmark and data."""
    lines = []
    for place, group in enumerate(groups):
        for other in range(place):
            first = groups[other]
            if group.key.differs_in_configuration_alone(first.key):
                keys = other_experiment(first.baseline.record, group.baseline.record)
                lines.append(f"Groups {other + 1} and {place + 1} differ in their configuration: {_some(keys)}.")
    return lines


def _warnings(groups: Sequence[RunGroup], entries: Sequence[RunEntry]) -> list[str]:
    lines = []
    if len(groups) > 1:
        lines.append(
            f"The runs fall into {len(groups)} groups (another model family, configuration or other data); differences "
            "are taken inside a group only."
        )
        lines += _between(groups)
    unfinished = [entry.label for entry in entries if entry.status != "finished"]
    if unfinished:
        lines.append(f"Not finished: {', '.join(unfinished)}. Accuracy of such runs is shown but not compared.")
    if any(entry.emulated for entry in entries):
        lines.append(EMULATED)
    return lines
