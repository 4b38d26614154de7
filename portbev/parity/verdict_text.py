"""Verdicts in a sentence."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.parity.verdicts import Comparison, Judgement, Verdict


def say(comparison: Comparison, judgement: Judgement, *, refused: str, constant: bool) -> str:
    """The verdict with what it rests on: the difference, its interval, the runs, and what is missing."""
    one = comparison
    if one.verdict == "not judged":
        return f"{one.name} is not judged: {refused}"
    if one.test == "identical":
        return f"{one.name} is equivalent: the runs have the same bits, seed by seed ({_runs(one)})"
    if one.test == "none":
        return f"{one.name} is {one.verdict}: {_nothing_tested(one, constant=constant)}"
    found = f"{one.name} {_is(one)}: {amount(one, one.estimate)} ({_interval(one)}; {_runs(one)})"
    return f"{found}; {_missing(one, judgement)}" if one.verdict == "undecided" else found


def amount(one: Comparison, value: float | None) -> str:
    """A difference with its sign: four places, or per cent."""
    if value is None:
        return "not measured"
    return f"{100 * value:+.1f} %" if one.scale == "ratio" else f"{value:+.4f}"


def margin(one: Comparison) -> str:
    """The declared margin."""
    if one.margin is None:
        return "no margin"
    return f"±{100 * one.margin:g} %" if one.scale == "ratio" else f"±{one.margin:.3g}"


def overall(name: str, verdict: Verdict, comparisons: Sequence[Comparison]) -> str:
    """The verdict over several metrics with their differences: ``accuracy equivalent (mAP +0.0003, NDS -0.0010)``."""
    parts = [f"{one.name} {amount(one, one.estimate)}" for one in comparisons if one.estimate is not None]
    more = [one.more_runs for one in comparisons if one.verdict == "undecided" and one.more_runs is not None]
    text = f"{name} {verdict}" + (f", {max(more)} more seeds" if more and verdict == "undecided" else "")
    return text + (f" ({', '.join(parts)})" if parts else "")


def _is(one: Comparison) -> str:
    if one.verdict == "equivalent":
        sure = one.p_different is not None and one.p_different < 0.05
        return f"is equivalent within {margin(one)}" + (", though not equal" if sure else "")
    if one.verdict == "different":
        if one.scale == "ratio":
            return "is different"
        return f"is different, by more than {margin(one)}" if _beyond(one) else "is different"
    return "is undecided"


def _beyond(one: Comparison) -> bool:
    """Whether the whole interval lies beyond the margin."""
    if one.margin is None or one.low is None or one.high is None:
        return False
    return one.low > one.margin or one.high < -one.margin


def _interval(one: Comparison) -> str:
    if one.confidence is None:
        return "no interval"
    level = f"{100 * one.confidence:.4g} % interval {amount(one, one.low)} to {amount(one, one.high)}"
    if one.verdict == "different" and one.p_different is not None:
        together = f", corrected for {one.compared_together} comparisons" if one.compared_together > 1 else ""
        return f"{level}, p = {one.p_different:.2g}{together}"
    return level


def _runs(one: Comparison) -> str:
    how = {
        "paired": ", paired by seed",
        "pooled": "; the single run is taken to spread like the others",
        "known spread": "; spread as declared",
    }.get(one.test, "")
    return f"{one.seeds} against {one.baseline_seeds} run{'s' if one.baseline_seeds > 1 else ''}{how}"


def _nothing_tested(one: Comparison, *, constant: bool) -> str:
    if not (one.seeds and one.baseline_seeds):
        return "no run of one side has this figure" if one.seeds or one.baseline_seeds else "no run has this figure"
    if constant:
        if one.kind == "cost" and one.verdict == "equivalent":
            return f"the same in all runs ({_runs(one)})"
        return f"it is {one.mean:.4g} in all runs, so that it cannot show a difference"
    runs = "one run on each side" if one.seeds == one.baseline_seeds == 1 else _runs(one)
    return (
        f"{runs}, {amount(one, one.estimate)}, and how much runs of one device spread is not known; run several seeds, "
        "or declare a spread"
    )


def _missing(one: Comparison, judgement: Judgement) -> str:
    if one.margin is None:
        return "no margin is declared within which it would count as equal"
    if one.test == "pooled":
        start = "one run cannot show equality"
    elif one.power is not None:
        start = f"equal devices would have been found so with probability {one.power:.2f}"
    else:
        start = "its spread is not known"
    if one.more_runs is None or one.runs_needed is None:
        return f"{start}; no number of seeds would do"
    return (
        f"{start}; {one.more_runs} more seed{'s' if one.more_runs > 1 else ''} a side ({one.runs_needed} in all) "
        f"make that {judgement.power:g}"
    )
