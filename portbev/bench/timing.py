"""How things are timed: synchronised, warmed up, by turns, medians.

A sample is a number of calls back to back, so many that it lasts at least :data:`LEAST` seconds, between two events of
the device where it has them and between two synchronisations elsewhere; its value is the time of one call. Contenders
take turns, so that whatever slows the machine slows all of them. Caches are as the calls before left them: inputs
smaller than the last cache are read from it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from portbev.backend import Backend

LEAST = 2e-3
MOST_CALLS = 200
LONG = 20.0
"""A call of so many seconds is timed once, by its warm-up."""


@dataclass(frozen=True)
class Effort:
    """How long to measure.

    Attributes:
        rounds: the fewest and the most samples of each contender.
        seconds: after which no more than the fewest are taken.
    """

    rounds: tuple[int, int]
    seconds: float


FULL = Effort((5, 25), 3.0)
QUICK = Effort((3, 7), 0.3)


@dataclass
class Timed:
    """One contender's samples.

    Attributes:
        run: what is called.
        ready: called before each sample, not timed.
        samples: seconds of a call.
        calls: back to back in a sample.
    """

    run: Callable[[], Any]
    ready: Callable[[], None] = field(default=lambda: None)
    samples: list[float] = field(default_factory=list)
    calls: int = 1

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


class Timer:
    """Times calls on a backend's device."""

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self._events = backend.device_type != "cpu" and not backend.emulated and hasattr(backend.module, "Event")

    @property
    def method(self) -> str:
        """For the record."""
        between = "events of the device" if self._events else "synchronisations, by the host's clock"
        return f"median of samples between two {between}; a sample lasts at least {LEAST * 1e3:g} ms; by turns"

    def seconds(self, run: Callable[[], Any], calls: int = 1) -> float:
        """Seconds of one of several calls."""
        return self._by_events(run, calls) if self._events else self._by_clock(run, calls)

    def by_turns(self, contenders: Sequence[Timed], effort: Effort) -> None:
        """Take samples of all contenders, after a warm-up of each that also says how many calls make a sample."""
        for one in contenders:
            one.ready()
            first = self._by_clock(one.run, 1)
            if first > LONG:
                one.samples.append(first)
                continue
            once = self._by_clock(one.run, 1)
            one.calls = min(MOST_CALLS, max(1, round(LEAST / max(once, 1e-7))))
        waiting = [one for one in contenders if not one.samples]
        started, (fewest, most) = time.perf_counter(), effort.rounds
        for taken in range(most):
            if taken >= fewest and time.perf_counter() - started > effort.seconds:
                break
            for one in waiting:
                one.ready()
                one.samples.append(self.seconds(one.run, one.calls))

    def _by_clock(self, run: Callable[[], Any], calls: int) -> float:
        self.backend.synchronize()
        started = time.perf_counter()
        for _ in range(calls):
            run()
        self.backend.synchronize()
        return (time.perf_counter() - started) / calls

    def _by_events(self, run: Callable[[], Any], calls: int) -> float:
        start, end = (self.backend.module.Event(enable_timing=True) for _ in range(2))
        self.backend.synchronize()
        start.record()
        for _ in range(calls):
            run()
        end.record()
        self.backend.synchronize()
        return float(start.elapsed_time(end)) * 1e-3 / calls


def ratio(ours: Sequence[float], others: Sequence[float]) -> float:
    """Median of the ratios of samples that were taken one after the other."""
    return statistics.median(a / b for a, b in zip(ours, others, strict=False))
