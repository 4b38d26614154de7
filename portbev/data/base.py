"""The interface of a data set, whatever it holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from portbev.paths import DataPath

if TYPE_CHECKING:
    from portbev.data.summary import Summary
    from portbev.models import Batch

Part = Literal["train", "eval"]


class Dataset(Protocol):
    """One split, for training or for evaluation.

    Attributes:
        part: whether the split is opened for training or for evaluation.
        root: folder of the data.
        version: version of the data, as the data set names it.
        split: name of the split.
        tokens: the token of each sample; evaluation reports in this order.
        notes: what was repaired or left out, for the run's record.
        benchmark: name of the benchmark that scores detections on this data (see :mod:`portbev.evaluate`).
        classes: names of the detection classes in the order of their labels.
    """

    part: Part
    root: DataPath
    version: str
    split: str
    tokens: list[str]
    notes: list[str]
    benchmark: str
    classes: tuple[str, ...]

    @property
    def labelled(self) -> bool:
        """Whether there are annotations, so that detections can be scored."""
        ...

    def __len__(self) -> int: ...

    def sample(self, index: int, epoch: int) -> Any:
        """The sample at ``index`` in ``epoch``. All random draws depend on (seed, epoch, index) alone.

        Raises:
            DataError: a file that is missing or damaged.
        """
        ...

    @staticmethod
    def collate(samples: Sequence[Any]) -> Batch:
        """A batch of at least one sample. The function is sent to worker processes, so it must be a plain function."""
        ...

    def subset(self, indices: Any) -> Dataset:
        """The same data set with only the samples at ``indices`` (list, array or slice), in that order."""
        ...

    def digest(self) -> str:
        """SHA-256 of the split's content: samples, files, calibrations, poses and boxes."""
        ...

    def check(self) -> None:
        """Look for what reading a sample would stumble over, without decoding files; called before the first step.

        Raises:
            DataError: a file that is missing (says how many, and the first), or content that cannot be meant.
        """
        ...

    def summary(self) -> Summary:
        """What will be learnt from the split, or scored against, in numbers."""
        ...

    def streams(self) -> list[list[int]] | None:
        """For evaluation: lists of indices, each of which one process must visit in order; together they hold every
        index once. None if samples can be visited in any order.
        """
        ...
