"""What the framework asks of a data set, whatever it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from portbev.models import Batch

Part = Literal["train", "eval"]


class Dataset(Protocol):
    """One split, for training or for evaluation.

    Attributes:
        part: what the split is opened for.
        root, version, split: where the samples are from.
        tokens: the name of each sample; the evaluation reports in this order.
        notes: what was repaired or left out, for the run's record.
        benchmark: who scores detections on it (see :mod:`portbev.evaluate`).
        classes: names of the detection classes in the order of their labels.
    """

    part: Part
    root: Path
    version: str
    split: str
    tokens: list[str]
    notes: list[str]
    benchmark: str
    classes: tuple[str, ...]

    def __len__(self) -> int: ...

    def sample(self, index: int, epoch: int) -> Any:
        """The sample at ``index`` as it is seen in ``epoch``; every random draw depends on (seed, epoch, index) alone.

        Raises:
            DataError: a file that is missing or damaged.
        """
        ...

    @staticmethod
    def collate(samples: Sequence[Any]) -> Batch:
        """A batch of at least one sample. It is sent to worker processes, so it must be a plain function."""
        ...

    def subset(self, indices: Any) -> Dataset:
        """The same data set with only these of its samples (list, array or slice), in this order."""
        ...

    def digest(self) -> str:
        """SHA-256 of what the split says: samples, files, calibrations, poses, boxes."""
        ...

    def streams(self) -> list[list[int]] | None:
        """For evaluation: lists of indices that one process must visit in order, each index once. None: any order."""
        ...
