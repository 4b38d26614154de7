"""How things are timed: synchronised, warmed up, by turns, medians.

A sample is a number of calls back to back, so many that it lasts at least :data:`LEAST` seconds, between two events of
the device where it has them and between two synchronisations elsewhere; its value is the time of one call. Contenders
take turns, so that whatever slows the machine slows all of them. Caches are as the calls before left them: inputs
smaller than the last cache are read from it.

On a busy host the wall's clock tells of the others' work too; the process's own CPU time does not.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from portbev.backend import Backend
from portbev.errors import PortbevError

Clock = Literal["wall", "cpu"]

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


FULL = Effort((5, 25), 2.0)
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
    """Times calls on a backend's device.

    Args:
        clock: ``cpu``: seconds of all threads of this process, where the device is the host.

    Raises:
        PortbevError: CPU seconds are asked for, and the device is another one.
    """

    def __init__(self, backend: Backend, clock: Clock = "wall") -> None:
        if clock == "cpu" and backend.device_type != "cpu":
            what = "the process's CPU time is not the time of this device"
            raise PortbevError(what, where="--clock", cure="Leave it out, or take --backend cpu")
        self.backend, self.clock = backend, clock
        self._now = time.process_time if clock == "cpu" else time.perf_counter
        self._events = backend.device_type != "cpu" and not backend.emulated and hasattr(backend.module, "Event")

    @property
    def method(self) -> str:
        """For the record."""
        by = "the process's CPU seconds" if self.clock == "cpu" else "the host's clock"
        between = "events of the device" if self._events else f"synchronisations, by {by}"
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
        started = self._now()
        for _ in range(calls):
            run()
        self.backend.synchronize()
        return (self._now() - started) / calls

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
