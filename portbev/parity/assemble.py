"""Fill in the report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from portbev import __version__
from portbev.evaluate.benchmark import find_benchmark
from portbev.files import finite
from portbev.parity import curves, differences, table
from portbev.parity.bands import ControlRuns
from portbev.parity.document import Group, ParityReport, RunEntry
from portbev.parity.equality import compare_sides, side_verdicts
from portbev.parity.evidence import read_evidence
from portbev.parity.gate import check_keys, judge_gate, parse_requirements, widened
from portbev.parity.grouping import RunGroup, group_runs
from portbev.parity.published import load_published
from portbev.parity.recorded import judge_published, reference_gate
from portbev.parity.runs import LabelledRun, load_runs
from portbev.parity.seal import sealed
from portbev.parity.settings import other_experiment
from portbev.parity.sides import SideRuns, split_into_sides
from portbev.parity.verdicts import Judgement, Options

EMULATED = (
    "A run marked (emulated) was computed on the host CPU by stand-ins for the vendor's packages. It proves that the "
    "logic is portable: placement, dispatch, argument layout and limits. It says nothing about the vendor's numerics "
    "or speed."
)


def build_report(
    paths: Sequence[Path | str],
    *,
    baseline: str | None = None,
    published: Sequence[str] = (),
    controls: Sequence[Path | str] = (),
    evidence: Sequence[Path | str] = (),
    judgement: Judgement | None = None,
    require: Sequence[str] = (),
) -> ParityReport:
    """Compare run directories.

    Args:
        paths: run directories; the first run of each group is its baseline.
        baseline: name or path of another run to compare with.
        published: names of shipped tables, or YAML files, to be shown beside the runs.
        controls: runs of a baseline again, with first weights moved by one unit in the last place.
        evidence: JSON documents of other parity commands and benchmarks.
        judgement: margins, levels and declared spreads of the tests.
        require: what the report is to show (see :mod:`portbev.parity.gate`).

    Raises:
        PortbevError: a run or another file cannot be read, or ``baseline`` is none of the runs.
    """
    return report_on(
        load_runs(paths),
        baseline=baseline,
        published=published,
        controls=load_runs(controls),
        evidence=evidence,
        judgement=judgement,
        require=require,
    )


def report_on(
    runs: Sequence[LabelledRun],
    *,
    baseline: str | None = None,
    published: Sequence[str] = (),
    controls: Sequence[LabelledRun] = (),
    evidence: Sequence[Path | str] = (),
    judgement: Judgement | None = None,
    require: Sequence[str] = (),
) -> ParityReport:
    """:func:`build_report` for runs that are read already."""
    judgement = judgement or Judgement()
    requirements = parse_requirements(require)
    groups = group_runs(runs, baseline)
    check_keys(judgement, requirements, [group.key.benchmark for group in groups])
    tables = [load_published(name) for name in published]
    split = [split_into_sides(group) for group in groups]
    bands = ControlRuns(controls, [side.runs for sides in split for side in sides])
    filled = [
        _group(number, group, sides, bands, widened(judgement, requirements, group.key.benchmark))
        for number, (group, sides) in enumerate(zip(groups, split, strict=True), 1)
    ]
    entries = [
        _entry(run, number, group, sides)
        for number, (group, sides) in enumerate(zip(groups, split, strict=True), 1)
        for run in group.runs
    ]
    ordered = [run for group in groups for run in group.runs]
    report = ParityReport(
        portbev=__version__,
        summary=_summary(filled),
        warnings=[
            *_warnings(groups, entries),
            *(remark for group in filled for side in group.sides for remark in side.remarks),
        ],
        metrics=table.all_columns([group.key.benchmark for group in groups]),
        runs=entries,
        groups=filled,
        environment=differences.environment(ordered),
        ledger=differences.ledger([group.runs for group in groups]),
        published=tables,
        published_verdicts=[verdicts for one in tables if (verdicts := judge_published(one, judgement)) is not None],
        evidence=[read_evidence(path) for path in evidence],
        options=Options(
            baseline=baseline,
            published=list(published),
            judgement=judgement,
            require=list(require),
            controls=[run.label for run in controls],
        ),
    )
    if requirements:
        report.gate = judge_gate(report, requirements)
    return sealed(report)


def _entry(run: LabelledRun, number: int, group: RunGroup, sides: Sequence[SideRuns]) -> RunEntry:
    record, metrics = run.record, run.metrics
    partner = _partner(run, sides)
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
        device_name=run.device,
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
        remarks=_remarks(run, partner),
        values=table.values(run),
        differences={} if partner is None else table.differences(run, partner),
        files=run.digests,
    )


def _partner(run: LabelledRun, sides: Sequence[SideRuns]) -> LabelledRun | None:
    """The run with which ``run`` is compared bit by bit: the first side's of its seed; the baseline where it has none.

    None for the runs of the first side: they stand for its spread over seeds.
    """
    base = sides[0]
    return None if run in base.runs else base.partner(run) or base.runs[0]


def _remarks(run: LabelledRun, partner: LabelledRun | None) -> list[str]:
    record, remarks = run.record, []
    if not run.finished:
        progress = record.progress
        error = f": {record.error}" if record.error else ""
        remarks.append(f"not finished ({record.status} at step {progress.step} of {progress.total_steps}){error}")
    if run.metrics is None:
        remarks.append("not evaluated: no metrics.json")
    elif not run.metrics.scored:
        remarks.append(f"not scored: split {run.metrics.split} has no annotations")
    if partner is not None:
        remarks += _against(run, partner)
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
        remarks.append(f"different seed ({seed}; baseline {other})")
    why = table.why_not_comparable(run, baseline)
    if why and run.metrics is not None:
        remarks.append(f"accuracy is not compared: {why}")
    return remarks


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:4]) + (f" and {len(keys) - 4} more" if len(keys) > 4 else "")


def _group(number: int, group: RunGroup, sides: Sequence[SideRuns], bands: ControlRuns, judgement: Judgement) -> Group:
    benchmark = find_benchmark(group.key.benchmark)
    figures = {
        run.label: finite(benchmark.class_figures({} if run.metrics is None else run.metrics.content))
        for run in group.runs
    }
    classes = list(dict.fromkeys(name for by_class in figures.values() for name in by_class))
    found = []
    for side in sides[1:]:
        for run in side.runs:
            partner = _partner(run, sides)
            assert partner is not None  # only the first side's have none
            found.append(bands.judged(curves.compare_curves(run, partner), run, partner))
    compared = compare_sides(sides, benchmark, classes, found, judgement)
    return Group(
        number=number,
        title=group.title,
        baseline=group.baseline.label,
        runs=[run.label for run in group.runs],
        family=group.key.family,
        benchmark=benchmark.name,
        metrics=table.columns(benchmark),
        class_title=benchmark.class_title,
        classes=classes,
        class_aps=figures,
        curves=found,
        configuration=differences.configuration(group.runs),
        sides=[side.described(is_baseline=side is sides[0]) for side in sides],
        comparisons=compared,
        verdicts=side_verdicts(sides, compared, found),
        reference=reference_gate(group, sides, judgement),
    )


def _summary(filled: Sequence[Group]) -> list[str]:
    """What a reader in a hurry needs: a sentence per side that is compared."""
    lines = []
    for group in filled:
        if len(group.sides) == 1:
            runs = "alone in its group" if len(group.runs) == 1 else f"{len(group.runs)} runs, alone in their group"
            lines.append(f"{group.sides[0].label}: {runs} ({group.title}), compared with nothing.")
        lines += [f"{verdict.says}." for verdict in group.verdicts]
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
