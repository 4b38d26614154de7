"""Samples of a run with what was detected in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from portbev.errors import PortbevError
from portbev.evaluate.benchmark import find_benchmark
from portbev.runs import Run, load_run

if TYPE_CHECKING:
    from portbev.viz.canvas import Image


class Views(ABC):
    """Samples that have predictions.

    Attributes:
        title: stands above the pictures.
    """

    title: str

    @property
    @abstractmethod
    def tokens(self) -> list[str]:
        """Samples that have predictions, by scene and time."""

    @abstractmethod
    def draw(self, token: str, score: float) -> tuple[str, Image]:
        """The name of a sample's picture, without suffix, and the picture; predictions below ``score`` are left out.

        Raises:
            PortbevError: the predictions have no such sample.
            DataError: a file of the sample is missing or damaged.
        """

    def spread(self, count: int) -> list[str]:
        """``count`` of the tokens at even distances, so that all scenes have their turn."""
        tokens = self.tokens
        count = min(count, len(tokens))
        return [tokens[(2 * place + 1) * len(tokens) // (2 * count)] for place in range(count)]

    def check(self, token: str) -> None:
        """Raise a PortbevError if the predictions have no such sample."""
        if token not in self.tokens:
            what = f"the predictions have no sample {token!r}"
            raise PortbevError(what, where="--tokens", cure=f"For example: {', '.join(self.tokens[:3])}")


def open_views(run: Path | str, *, data_root: str | Path | None = None, version: str | None = None) -> Views:
    """The samples of a run's ``predictions.json``.

    Args:
        run: run directory.
        data_root: folder or ``synthetic:...``; by default the one that the run was made on.
        version: folder of the tables; by default the run's.

    Raises:
        PortbevError: no run, not evaluated, or data that is missing or does not fit the predictions.
    """
    loaded = load_run(run)
    if not loaded.predictions.is_file():
        cure = f"Evaluate it first: portbev eval {run}"
        raise PortbevError("the run has no predictions.json", where=str(run), cure=cure)
    return find_benchmark(loaded.benchmark).open_views(loaded, data_root=data_root, version=version)


def run_title(run: Run) -> str:
    """What stands above a run's pictures."""
    return f"{run.record.name}   run {run.path.resolve().name}   {run.record.backend.label}"
