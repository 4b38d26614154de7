"""Predictions and ground truth as arrays, the input of the evaluation.

The boxes of all samples are concatenated; each box has the index of its sample. Global frame, metres, seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from portbev.errors import ResultsError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.int8]

Arrays = TypeVar("Arrays", "PredictionArrays", "GroundTruthArrays", "BoxArrays")


@dataclass(frozen=True)
class BoxArrays:
    """K boxes without a class (bicycle racks).

    Attributes:
        sample_index: (K,) index into the sample tokens.
        translation: (K, 3) centre in the global frame [m].
        size: (K, 3) width, length, height [m].
        rotation: (K, 4) quaternion w, x, y, z of any length.
    """

    sample_index: Ints
    translation: Floats
    size: Floats
    rotation: Floats

    @classmethod
    def empty(cls) -> BoxArrays:
        """No boxes."""
        return cls(np.zeros(0, np.int64), np.zeros((0, 3)), np.zeros((0, 3)), np.zeros((0, 4)))

    def __post_init__(self) -> None:
        _coerce(self, {"translation": 3, "size": 3, "rotation": 4})

    def __len__(self) -> int:
        return len(self.sample_index)

    def take(self, rows: NDArray[Any]) -> BoxArrays:
        """The boxes of ``rows`` (indices or a mask)."""
        return _take(self, rows)


@dataclass(frozen=True)
class GroundTruthArrays:
    """Annotated boxes of the ten classes in S samples; per sample in the order of the annotation table.

    Attributes:
        sample_tokens: the S samples, in the order of the sample table.
        ego_translation: (S, 3) ego position at the LIDAR_TOP key frame, global frame [m].
        sample_index: (G,) index into ``sample_tokens``.
        label: (G,) index into ``DETECTION_CLASSES``.
        translation: (G, 3) centre in the global frame [m].
        size: (G, 3) width, length, height [m].
        rotation: (G, 4) quaternion w, x, y, z of any length.
        velocity: (G, 2) global frame [m/s]; NaN where unknown.
        attribute: (G,) index into ``ATTRIBUTES``, -1 for none.
        num_pts: (G,) lidar plus radar points inside; a box with 0 is not evaluated.
        racks: bicycle racks of the same samples.
    """

    sample_tokens: Sequence[str]
    ego_translation: Floats
    sample_index: Ints
    label: Labels
    translation: Floats
    size: Floats
    rotation: Floats
    velocity: Floats
    attribute: Labels
    num_pts: Ints
    racks: BoxArrays = field(default_factory=BoxArrays.empty)

    def __post_init__(self) -> None:
        _coerce(self, {"translation": 3, "size": 3, "rotation": 4, "velocity": 2})
        object.__setattr__(self, "ego_translation", np.asarray(self.ego_translation, np.float64).reshape(-1, 3))
        if len(self.ego_translation) != len(self.sample_tokens):
            raise ValueError(f"{len(self.ego_translation)} ego positions for {len(self.sample_tokens)} samples")
        _check_sample_index(self.sample_index, len(self.sample_tokens))
        _check_sample_index(self.racks.sample_index, len(self.sample_tokens))

    def __len__(self) -> int:
        return len(self.sample_index)

    def take(self, rows: NDArray[Any]) -> GroundTruthArrays:
        """The boxes of ``rows`` (indices or a mask); the samples stay."""
        return _take(self, rows)

    def select(self, tokens: Sequence[str]) -> GroundTruthArrays:
        """The samples ``tokens``, in that order, with their boxes.

        Raises:
            ResultsError: a token that is none of the samples.
        """
        picked, order, counts = _rows_of(self.sample_tokens, self.sample_index, tokens, "the ground truth")
        _, rack_order, rack_counts = _rows_of(self.sample_tokens, self.racks.sample_index, tokens, "the ground truth")
        racks = replace(self.racks.take(rack_order), sample_index=np.repeat(np.arange(len(tokens)), rack_counts))
        return replace(
            self.take(order),
            sample_tokens=tuple(tokens),
            ego_translation=self.ego_translation[picked],
            sample_index=np.repeat(np.arange(len(tokens)), counts),
            racks=racks,
        )


@dataclass(frozen=True)
class PredictionArrays:
    """Predicted boxes in S samples. Rows are in submission order, which decides between equal scores.

    Attributes:
        sample_tokens: the samples that were predicted, those without boxes included.
        sample_index: (P,) index into ``sample_tokens``.
        label: (P,) index into ``DETECTION_CLASSES``.
        score: (P,) detection score.
        translation: (P, 3) centre in the global frame [m].
        size: (P, 3) width, length, height [m].
        rotation: (P, 4) quaternion w, x, y, z of any length.
        velocity: (P, 2) global frame [m/s].
        attribute: (P,) index into ``ATTRIBUTES``, -1 for none.
        num_pts: (P,) points inside; -1 for unknown; a box with 0 is not evaluated. None: unknown for all.
        lookup_index: (P,) the sample whose ground truth a box is matched with, -1 for none. None: ``sample_index``.
            (In a submission each box has a ``sample_token`` of its own, and the devkit matches by that.)
        meta: the submission's ``meta``.
        source: where the predictions come from, for messages.
    """

    sample_tokens: Sequence[str]
    sample_index: Ints
    label: Labels
    score: Floats
    translation: Floats
    size: Floats
    rotation: Floats
    velocity: Floats
    attribute: Labels
    num_pts: Ints | None = None
    lookup_index: Ints | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    source: str = "predictions"

    def __post_init__(self) -> None:
        _coerce(self, {"translation": 3, "size": 3, "rotation": 4, "velocity": 2})
        _check_sample_index(self.sample_index, len(self.sample_tokens))

    @classmethod
    def empty(cls, sample_tokens: Sequence[str], **columns: Any) -> PredictionArrays:
        """Samples without any box."""
        none, names = np.zeros(0), np.zeros(0, np.int8)
        return cls(sample_tokens, np.zeros(0, np.int64), names, none, none, none, none, none, names, **columns)

    def __len__(self) -> int:
        return len(self.sample_index)

    @property
    def lookup(self) -> Ints:
        """(P,) the sample whose ground truth each box is matched with; -1 for none."""
        return self.sample_index if self.lookup_index is None else self.lookup_index

    def take(self, rows: NDArray[Any]) -> PredictionArrays:
        """The boxes of ``rows`` (indices or a mask); the samples stay."""
        return _take(self, rows)

    def select(self, tokens: Sequence[str]) -> PredictionArrays:
        """The samples ``tokens``, in that order, with their boxes.

        Raises:
            ResultsError: a token that was not predicted.
        """
        if tuple(tokens) == tuple(self.sample_tokens) and bool((np.diff(self.sample_index) >= 0).all()):
            return self
        picked, order, counts = _rows_of(self.sample_tokens, self.sample_index, tokens, self.source)
        taken = self.take(order)
        lookup = taken.lookup_index
        if lookup is not None:
            renumbered = np.full(len(self.sample_tokens) + 1, -1, np.int64)  # the last entry serves index -1
            renumbered[picked] = np.arange(len(tokens))
            lookup = renumbered[lookup]
        index = np.repeat(np.arange(len(tokens)), counts)
        return replace(taken, sample_tokens=tuple(tokens), sample_index=index, lookup_index=lookup)


def concatenate(parts: Sequence[PredictionArrays]) -> PredictionArrays:
    """The predictions of several processes or batches as one; their samples must differ.

    Raises:
        ResultsError: a sample that occurs in two parts.
        ValueError: no parts.
    """
    if not parts:
        raise ValueError("no predictions to concatenate")
    tokens = [token for part in parts for token in part.sample_tokens]
    if len(set(tokens)) != len(tokens):
        repeated = next(token for token in tokens if tokens.count(token) > 1)
        raise ResultsError(f"sample {repeated} was predicted twice", where=parts[0].source)
    offsets = np.cumsum([0, *(len(part.sample_tokens) for part in parts)])
    names = ("label", "score", "translation", "size", "rotation", "velocity", "attribute")
    columns: dict[str, Any] = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    columns["sample_index"] = np.concatenate([p.sample_index + o for p, o in zip(parts, offsets, strict=False)])
    if any(part.num_pts is not None for part in parts):
        points = [np.full(len(p), -1) if p.num_pts is None else p.num_pts for p in parts]
        columns["num_pts"] = np.concatenate(points)
    if any(part.lookup_index is not None for part in parts):
        lookups = [np.where(p.lookup < 0, -1, p.lookup + o) for p, o in zip(parts, offsets, strict=False)]
        columns["lookup_index"] = np.concatenate(lookups)
    return PredictionArrays(sample_tokens=tuple(tokens), **columns, meta=parts[0].meta, source=parts[0].source)


def _coerce(arrays: Any, widths: Mapping[str, int]) -> None:
    """Convert every column to its dtype and shape.

    Raises:
        ValueError: columns of unequal length.
    """
    count = len(arrays.sample_index)
    for item in fields(arrays):
        value = getattr(arrays, item.name)
        if item.name in ("sample_tokens", "ego_translation", "racks", "meta", "source") or value is None:
            continue
        if item.name in widths:
            value = np.asarray(value, np.float64).reshape(-1, widths[item.name])
        elif item.name in ("label", "attribute"):
            value = np.asarray(value, np.int8)
        else:
            value = np.asarray(value, np.float64 if item.name == "score" else np.int64)
        if len(value) != count or value.ndim > 2:
            raise ValueError(f"{item.name} has {len(value)} rows, sample_index has {count}")
        object.__setattr__(arrays, item.name, value)


def _check_sample_index(index: Ints, samples: int) -> None:
    if len(index) and not 0 <= index.min() <= index.max() < samples:
        raise ValueError(f"sample_index must be from 0 to {samples - 1}, found {index.min()} to {index.max()}")


def _take(arrays: Arrays, rows: NDArray[Any]) -> Arrays:
    whole = ("sample_tokens", "ego_translation", "racks", "meta", "source")
    columns = {f.name: getattr(arrays, f.name) for f in fields(arrays) if f.name not in whole}
    return replace(arrays, **{name: value[rows] for name, value in columns.items() if value is not None})


def _rows_of(
    sample_tokens: Sequence[str], sample_index: Ints, tokens: Sequence[str], source: str
) -> tuple[Ints, Ints, Ints]:
    """Indices of ``tokens`` in ``sample_tokens``; rows of their boxes, sample by sample; boxes per sample."""
    position = {token: index for index, token in enumerate(sample_tokens)}
    unknown = [token for token in tokens if token not in position]
    if unknown:
        raise ResultsError(f"no sample {unknown[0]} ({len(unknown)} such in all)", where=source)
    picked = np.array([position[token] for token in tokens], np.int64)
    order = np.argsort(sample_index, kind="stable")
    counts = np.bincount(sample_index, minlength=len(sample_tokens))
    starts = np.cumsum(counts) - counts
    picked_counts = counts[picked]
    within = np.arange(picked_counts.sum()) - np.repeat(np.cumsum(picked_counts) - picked_counts, picked_counts)
    return picked, order[np.repeat(starts[picked], picked_counts) + within], picked_counts


def expand(starts: NDArray[np.int64], counts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs (i, j) with ``starts[i] <= j < starts[i] + counts[i]``, ordered by i, then j.

    Returns:
        (N,) indices i and (N,) indices j, N being the sum of ``counts``.
    """
    first = np.repeat(np.arange(len(counts)), counts)
    second = np.arange(len(first)) + np.repeat(starts - (np.cumsum(counts) - counts), counts)
    return first, second
