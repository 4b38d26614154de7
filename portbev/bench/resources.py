"""Memory and energy of a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from portbev.backend import Backend

LONG_ENOUGH = 0.5
"""Seconds of calls that energy is averaged over: drivers count in steps of up to a tenth of a second."""


def extra_memory(backend: Backend, run: Callable[[], Any]) -> int | None:
    """Bytes that a call takes on top of what is there before, its results among them.

    None where the device does not count them: a host's heap gives freed memory out again unseen.
    """
    if not hasattr(backend.module, "memory_allocated"):
        return None
    run()
    backend.synchronize()
    backend.reset_peak_memory()
    before = backend.peak_memory()
    kept = run()
    backend.synchronize()
    del kept
    return max(0, backend.peak_memory() - before)


def energy(backend: Backend, run: Callable[[], Any], seconds: float = LONG_ENOUGH) -> float | None:
    """Joules of a call, what the device draws when idle included; None where the driver does not tell."""
    before = backend.energy()
    if before is None:
        return None
    backend.synchronize()
    started, calls = time.perf_counter(), 0
    while time.perf_counter() - started < seconds:
        run()
        backend.synchronize()
        calls += 1
    after = backend.energy()
    return None if after is None or after < before else (after - before) / calls
