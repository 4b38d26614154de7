"""Class-balanced grouping and sampling (CBGS, Zhu et al. 2019, arXiv:1908.09492)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Choices(Protocol):
    """A random generator with the method that CBGS draws with."""

    def choice(self, a: Any, size: int) -> Any: ...


def balanced_indices(classes_of: Sequence[set[int]], classes: int, rng: Choices) -> NDArray[np.int64]:
    """Sample indices in which every class has about the same share.

    For each class in turn, samples that contain the class are drawn with replacement; their number is the number of all
    (sample, class) pairs divided by ``classes``. A class that no sample contains is left out.

    Args:
        classes_of: for each sample the classes in it.
        classes: number of classes.
        rng: ``rng.choice(indices, count)`` draws with replacement.
    """
    members = [[index for index, labels in enumerate(classes_of) if label in labels] for label in range(classes)]
    total = sum(len(indices) for indices in members)
    chosen = [
        np.asarray(rng.choice(indices, int(len(indices) * ((1.0 / classes) / (len(indices) / total)))), np.int64)
        for indices in members
        if indices
    ]
    return np.concatenate(chosen) if chosen else np.zeros(0, np.int64)
