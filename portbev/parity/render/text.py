"""Numbers as people read them."""

from __future__ import annotations

from portbev.evaluate.benchmark import Metric
from portbev.parity.document import RunEntry

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
