"""Names of the files in a run directory, and where there are any."""

from __future__ import annotations

from pathlib import Path

RUN = "run.json"
SCALARS = "scalars.jsonl"
METRICS = "metrics.json"
PREDICTIONS = "predictions.json"
CHECKPOINTS = "checkpoints"
LOCK = "run.lock"
SEAL = "seal.json"


def runs_below(folder: Path, *, deep: bool = True) -> list[Path]:
    """The run directories in ``folder`` and, with ``deep``, in its folders."""
    patterns = (f"*/{RUN}", f"*/*/{RUN}") if deep else (f"*/{RUN}",)
    return sorted(found.parent for pattern in patterns for found in folder.glob(pattern))
