"""A run directory as one typed thing: its record, scalars, metrics, checkpoints, weights and lock."""

from portbev.runs.run import Run, load_run

__all__ = ["Run", "load_run"]
