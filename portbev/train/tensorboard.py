"""Scalars and metrics for TensorBoard, an optional extra."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from portbev.errors import PortbevError
from portbev.runs.scalars import Row


class TensorBoard:
    """Writes the rows of ``scalars.jsonl`` as TensorBoard events too.

    Args:
        folder: where the events go.
        purge_step: events of this step and later ones, from before a resume, are hidden.

    Raises:
        PortbevError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, purge_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            cure = "pip install portbev[tensorboard], or set train.tensorboard=false"
            raise PortbevError("tensorboard is not installed", where="train.tensorboard", cure=cure) from error
        self._writer = SummaryWriter(str(folder), purge_step=purge_step)

    def add(self, row: Row) -> None:
        """One row of scalars."""
        for term, value in row.losses.items():
            self._writer.add_scalar(f"loss/{term}", value, row.step)
        for name in ("grad_norm", "lr", "step_time", "data_time"):
            self._writer.add_scalar(name, getattr(row, name), row.step)

    def add_metrics(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Figures of an evaluation; those that are not defined are left out."""
        for name, value in metrics.items():
            if value is not None:
                self._writer.add_scalar(f"eval/{name}", value, step)

    def close(self) -> None:
        self._writer.close()
