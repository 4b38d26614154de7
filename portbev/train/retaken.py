"""Steps that other processes take again: by how much they differ from the same steps before."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.runs.record import Deviation
from portbev.runs.scalars import Row


class Retaken:
    """Compares the steps after a checkpoint with the rows that were logged for them before.

    Args:
        rows: what was logged, of any steps.
        step: that of the checkpoint.
        before, processes: how many processes took the steps, and how many take them now.
    """

    def __init__(self, rows: Sequence[Row], step: int, *, before: int, processes: int) -> None:
        self._rows = {row.step: row for row in rows if row.step > step}
        self.found = Deviation(step=step, before=before, processes=processes, steps=0, loss=0.0, grad_norm=0.0)

    @property
    def waits(self) -> bool:
        """Whether there are steps to compare."""
        return bool(self._rows)

    def add(self, row: Row) -> bool:
        """Compare a step; returns whether it was the last one."""
        before = self._rows.pop(row.step, None)
        if before is None:
            return False
        self.found.steps += 1
        self.found.loss = max(self.found.loss, _relative(before.losses["total"], row.losses["total"]))
        self.found.grad_norm = max(self.found.grad_norm, _relative(before.grad_norm, row.grad_norm))
        return not self._rows

    def __str__(self) -> str:
        found = self.found
        first, last = found.step + 1, found.step + found.steps
        steps = f"step {first}" if first == last else f"steps {first} to {last}"
        now = "one process" if found.processes == 1 else f"{found.processes} processes"
        if not found.loss and not found.grad_norm:
            return f"{steps} by {now}: losses and gradient norms have the bits of those by {found.before}"
        return (
            f"{steps} by {now} differ from those by {found.before} by at most "
            f"{found.loss:.1e} of the loss and {found.grad_norm:.1e} of the gradient's norm"
        )


def _relative(first: float, second: float) -> float:
    return abs(second - first) / max(abs(first), 1e-30)
