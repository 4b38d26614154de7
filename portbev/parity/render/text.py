"""Numbers as people read them."""

from __future__ import annotations

from portbev.evaluate.benchmark import Metric
from portbev.parity.document import RunEntry
from portbev.parity.verdicts import Comparison

NONE = "\N{EN DASH}"
"""What stands where nothing was measured."""


def number(metric: Metric, value: float | None) -> str:
    """``value`` of ``metric``: accuracy with four places, memory in MiB or GiB, throughput with three figures."""
    if value is None:
        return NONE
    if metric.unit == "B":
        return memory(value)
    return f"{value:.4f}" if metric.kind == "accuracy" else throughput(value)


def difference(metric: Metric, value: float | None, baseline: float | None = None) -> str:
    """``value`` with its sign; for speed and memory as a share of ``baseline``. Empty when there is none."""
    if value is None:
        return ""
    if value == 0:
        return "\N{PLUS-MINUS SIGN}0"
    return f"{100 * value / baseline:+.0f} %" if metric.kind == "cost" and baseline else _signed(value)


def as_published(metric: Metric, value: float | None) -> str:
    """``value`` with the places that it was published with."""
    return number(metric, value) if value is None or metric.kind == "accuracy" else f"{value:g}"


def effect(metric: Metric, value: float | None, run: RunEntry) -> str:
    """``better``, ``worse`` or ``same``: for colour only. An emulated device's speed is not judged."""
    if value is None or value == 0 or (run.emulated and metric.kind == "cost"):
        return "same"
    return "better" if (value > 0) == (metric.better == "higher") else "worse"


def memory(value: float) -> str:
    gibibytes = value / 2**30
    return f"{gibibytes:.2f} GiB" if gibibytes >= 1 else f"{value / 2**20:.0f} MiB"


def throughput(value: float) -> str:
    return f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}" if abs(value) >= 5e-5 else f"{value:+.1e}"


def calls(by_provider: dict[str, int]) -> str:
    """``mx_driving 1,200 · reference 4``."""
    return " · ".join(f"{name} {times:,}" for name, times in by_provider.items()) or NONE


def change(comparison: Comparison, value: float | None, *, sign: bool = True) -> str:
    """``value`` on the comparison's scale: ``+0.0021``, or ``+3.4 %`` where it is a ratio."""
    if value is None:
        return NONE
    if _is_zero(comparison, value):
        return "\N{PLUS-MINUS SIGN}0" if sign else "0"
    if comparison.scale == "ratio":
        return f"{100 * value:{'+' if sign else ''}.1f} %"
    return _signed(value) if sign else f"{value:.4f}" if abs(value) >= 5e-5 else f"{value:.1e}"


def interval(comparison: Comparison) -> str:
    """``-0.0051 to +0.0004``; empty where there is none."""
    if comparison.low is None or comparison.high is None:
        return ""
    return f"{change(comparison, comparison.low)} to {change(comparison, comparison.high)}"


def direction(comparison: Comparison) -> str:
    """``better``, ``worse`` or ``same``, of the estimate."""
    value = comparison.estimate
    if value is None or _is_zero(comparison, value) or comparison.verdict == "not judged":
        return "same"
    return "better" if (value > 0) == (comparison.better == "higher") else "worse"


def _is_zero(comparison: Comparison, value: float) -> bool:
    """Whether ``value`` is what is left of zero when means are taken in float64."""
    size = max(abs(mean or 0.0) for mean in (comparison.mean, comparison.baseline_mean))
    return abs(value) <= 1e-14 * (1.0 if comparison.scale == "ratio" else size)


def p_value(value: float | None) -> str:
    return NONE if value is None else "< 0.0001" if value < 1e-4 else f"{value:.4f}"


def share(value: float | None) -> str:
    """A probability in per cent."""
    return NONE if value is None else f"{100 * value:.0f} %"


def spread(metric: Metric, std: float | None) -> str:
    """``± 0.0021``; empty where it is not known."""
    return "" if std is None else f"\N{PLUS-MINUS SIGN} {number(metric, std)}"


def runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"


def shortened(digest: str | None) -> str:
    """The beginning of a digest, enough to tell two apart."""
    return NONE if digest is None else digest[:16]


def sentence(words: str) -> str:
    """``words`` with a full stop. The first letter stays: it may be a run's."""
    return words if words.endswith((".", "!", "?", ":")) else f"{words}."
