"""Samples of an evaluation with what was detected in them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from portbev.errors import PortbevError
from portbev.evaluate.benchmark import find_benchmark
from portbev.runs.evaluated import load_evaluated

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


def open_views(folder: Path | str, *, data_root: str | Path | None = None, version: str | None = None) -> Views:
    """The samples of the predictions in a run directory, or in another folder that an evaluation wrote.

    Args:
        folder: the directory.
        data_root: folder or ``synthetic:...``; by default the one that the predictions were made on.
        version: folder of the tables; by default that of the predictions.

    Raises:
        PortbevError: no such folder, no predictions, or data that is missing or does not fit them.
    """
    evaluated = load_evaluated(folder)
    return find_benchmark(evaluated.benchmark).open_views(evaluated, data_root=data_root, version=version)
