"""Class-balanced grouping and sampling (CBGS, Zhu et al. 2019, arXiv:1908.09492)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Choices(Protocol):
    """What CBGS needs of a random generator."""

    def choice(self, a: Any, size: int) -> Any: ...


def balanced_indices(classes_of: Sequence[set[int]], classes: int, rng: Choices) -> NDArray[np.int64]:
    """Sample indices in which every class has about the same share.

    For each class in turn, the samples that contain it are drawn with replacement, a ``1 / classes`` part of all
    (sample, class) pairs. A class that no sample contains is left out.

    Args:
        classes_of: for each sample the classes in it.
        classes: number of classes.
        rng: draws with ``choice(list, count)``.
    """
    members = [[index for index, found in enumerate(classes_of) if label in found] for label in range(classes)]
    total = sum(len(some) for some in members)
    chosen = [
        np.asarray(rng.choice(some, int(len(some) * ((1.0 / classes) / (len(some) / total)))), np.int64)
        for some in members
        if some
    ]
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
