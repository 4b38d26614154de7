"""The energy counters of the processor's packages, as Linux's powercap shows them (RAPL)."""

from __future__ import annotations

from pathlib import Path

ROOT = Path("/sys/class/powercap")


def joules(root: Path = ROOT) -> float | None:
    """What all packages have used, memory not counted; None where the system does not tell.

    A counter begins again after some minutes of full load: a difference of two readings can be negative.
    """
    try:
        counts = [int((package / "energy_uj").read_text()) for package in root.glob("*-rapl:[0-9]")]
    except (OSError, ValueError):
        return None
    return sum(counts) * 1e-6 if counts else None
