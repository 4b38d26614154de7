"""Runs beside figures of others: do they agree with the original implementation, and what do published rows show."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.errors import PortbevError
from portbev.evaluate.benchmark import find_benchmark, headline_metrics
from portbev.parity import table
from portbev.parity.document import PublishedRow, PublishedTable
from portbev.parity.equality import default_margins, together
from portbev.parity.grouping import RunGroup
from portbev.parity.judging import Question, answer
from portbev.parity.published import load_published
from portbev.parity.settings import differing_keys
from portbev.parity.sides import SideRuns
from portbev.parity.verdicts import Judgement, PublishedVerdict, ReferenceGate
from portbev.plugins import plugins
from portbev.runs.record import RunRecord

NONE_RECORDED = (
    "no figures of the original implementation are recorded for this configuration: that the sides agree does not show "
    "that they are right"
)


def reference_gate(group: RunGroup, sides: Sequence[SideRuns], judgement: Judgement) -> ReferenceGate:
    """Each side against the figures that the original's authors got with this configuration, if there are any."""
    found = _recorded(group)
    if found is None:
        return ReferenceGate(verdict="not judged", says=NONE_RECORDED)
    content, row = found
    name = f"the original ({row.name})"
    benchmark = find_benchmark(group.key.benchmark)
    margins = {**default_margins(benchmark, 0), **judgement.margins}
    questions = []
    for side in sides:
        for metric in headline_metrics(benchmark):
            if metric.key in row.values:
                mine = {seed: table.values(run)[metric.key] for seed, run in side.counted.items()}
                questions.append(
                    Question(
                        "accuracy",
                        metric.key,
                        metric.name,
                        side=side.label,
                        baseline=name,
                        values={seed: value for seed, value in mine.items() if value is not None},
                        baseline_values={0: row.values[metric.key]},
                        margin=margins.get(metric.key),
                        headline=True,
                        better=metric.better,
                        spread=judgement.spreads.get(metric.key, content.spread.get(metric.key)),
                        refused="" if side.counted else f"no run of {side.label} counts",
                    )
                )
    comparisons = answer(questions, judgement)
    verdict = together([one.verdict for one in comparisons])
    said = {
        "equivalent": f"all sides agree with {name}",
        "different": f"not every side agrees with {name}",
        "undecided": f"nothing speaks against {name}, whose single run cannot show more",
        "not judged": f"no run counts against {name}",
    }
    return ReferenceGate(
        verdict=verdict,
        says=said[verdict],
        title=content.title,
        source=content.source.strip(),
        row=row.name,
        comparisons=comparisons,
    )


def judge_published(content: PublishedTable, judgement: Judgement) -> PublishedVerdict | None:
    """What the rows of one experiment show of each other; None where the table has no such rows."""
    if not content.same_experiment or len(content.rows) < 2:
        return None
    benchmark = find_benchmark(content.benchmark)
    margins = {**default_margins(benchmark, 0), **judgement.margins}
    first, *others = content.rows
    questions = [
        Question(
            "accuracy",
            metric.key,
            metric.name,
            side=f"{row.name} (published)",
            baseline=f"{first.name} (published)",
            values={0: row.values[metric.key]},
            baseline_values={0: first.values[metric.key]},
            margin=margins.get(metric.key),
            headline=True,
            better=metric.better,
            spread=judgement.spreads.get(metric.key, content.spread.get(metric.key)),
        )
        for row in others
        for metric in headline_metrics(benchmark)
        if metric.key in row.values and metric.key in first.values
    ]
    comparisons = answer(questions, judgement)
    return PublishedVerdict(title=content.title, comparisons=comparisons, says=[one.says for one in comparisons])


def _recorded(group: RunGroup) -> tuple[PublishedTable, PublishedRow] | None:
    """The table and row that plugins have of the original for this group's configuration and data."""
    for name in plugins().published():
        content = load_published(name)
        if (content.family, content.benchmark) != (group.key.family, group.key.benchmark):
            continue
        for row in content.rows:
            record = group.runs[0].record
            samples = content.eval_samples in (None, record.data.eval_samples)
            step = row.samples_per_step in (None, record.samples_per_step)
            if content.original and samples and step and row.config is not None and _is_of(row.config, record):
                return content, row
    return None


def _is_of(config: str, record: RunRecord) -> bool:
    """Whether the run computes what the shipped configuration does; where files of weights lie does not count."""
    from portbev.config import dump_config, load_config

    try:
        shipped = dump_config(load_config(config))
    except PortbevError:  # this installation does not have it
        return False
    differing = differing_keys(record.model_copy(update={"config": shipped}), record)
    return not [key for key, meaning in differing.items() if meaning.is_experiment and not key.endswith(".weights")]
