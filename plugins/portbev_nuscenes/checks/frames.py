"""Key frames, attributes and categories of samples, from the index alone."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from portbev.paths import DataPath
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.classes import (
    ATTRIBUTES,
    CATEGORY_TO_CLASS,
    DETECTION_CLASSES,
    IGNORE,
    IGNORED_CATEGORIES,
    Categories,
)
from portbev_nuscenes.tables.index import Index

Samples = NDArray[np.int64]


def missing_key_frames(index: Index, samples: Samples, columns: Sequence[int], folder: DataPath) -> list[Problem]:
    """Channels that a sample has no key frame of; ``columns`` are those that every sample needs."""
    problems = []
    for column in columns:
        without = samples[index.key_frames[samples, column] < 0]
        if len(without):
            what = f"{len(without)} samples have no {_channel(index, column)} key frame, the first is "
            what += index.token(without[0])
            cure = "Set is_key_frame in its row, add the row, or leave the scene out of the split"
            problems.append(Problem(str(folder / "sample_data.json"), what, cure))
    return problems


def doubled_key_frames(index: Index, samples: Samples, columns: Sequence[int], folder: DataPath) -> list[Problem]:
    """Channels with more than one key frame in a sample. The index must have been built without sweeps."""
    extra = np.flatnonzero(
        index.key_frames[index.frame_sample, index.frame_channel] != np.arange(len(index.frame_file))
    )
    extra = extra[np.isin(index.frame_sample[extra], samples)]
    problems = []
    for column in columns:
        rows = extra[index.frame_channel[extra] == column]
        if len(rows):
            owners = np.unique(index.frame_sample[rows])
            what = f"{len(owners)} samples have more than one {_channel(index, column)} key frame, the first is "
            what += index.token(owners[0])
            cure = "Leave is_key_frame on one row per sample and channel"
            problems.append(Problem(str(folder / "sample_data.json"), what, cure))
    return problems


def unscorable(index: Index, samples: Samples, folder: DataPath) -> list[Problem]:
    """Samples without a key frame of the sensor at whose ego poses detections are scored, though nobody may read it."""
    return missing_key_frames(index, samples, [index.reference()], folder)


def unknown_attributes(index: Index, samples: Samples, labels: NDArray[np.int64], folder: DataPath) -> list[Problem]:
    """Attributes that the benchmark does not have, of boxes of detection classes; ``labels`` (n,) is by category."""
    rows = index.boxes_of(samples)
    attribute = index.box_attribute[rows][labels[index.box_category[rows]] >= 0]
    used, counts = np.unique(attribute[attribute >= 0], return_counts=True)
    names = [index.attributes[place].decode() for place in used.tolist()]
    return [
        Problem(
            str(folder / "attribute.json"),
            f"{count} boxes have the attribute {name!r}, which the benchmark does not know",
            f"Name it as one of {', '.join(ATTRIBUTES)}, or take it out of attribute_tokens",
        )
        for name, count in zip(names, counts.tolist(), strict=True)
        if name not in ATTRIBUTES
    ]


def unknown_categories(index: Index, samples: Samples, categories: Categories, folder: DataPath) -> list[Problem]:
    """The problem that no box of the samples is of a detection class while some category is not known."""
    used = used_categories(index, samples)
    strange = [name for name in used if categories.class_of(name) is None and not categories.is_ignored(name)]
    if not strange or any(categories.class_of(name) for name in used):
        return []
    listed = ", ".join(f"{name} ({used[name]} boxes)" for name in strange)
    mapping = ", ".join(f"{name}: {_class_like(name)}" for name in strange)
    what = f"no category of the boxes belongs to a detection class: {listed}"
    cure = f"Say which class each is of, for example --set 'data.categories={{{mapping}}}'"
    return [Problem(str(folder / "category.json"), what, cure)]


def used_categories(index: Index, samples: Samples) -> dict[str, int]:
    """Category -> number of its boxes in the samples, of those that have any."""
    counts = np.bincount(index.box_category[index.boxes_of(samples)], minlength=len(index.categories))
    return {index.categories[place].decode(): int(counts[place]) for place in np.flatnonzero(counts).tolist()}


def _class_like(category: str) -> str:
    """The detection class that a category sounds like; "ignore" where it sounds like none."""
    known = {name.rpartition(".")[2]: name for name in (*CATEGORY_TO_CLASS, *IGNORED_CATEGORIES)}
    own = category.lower().rpartition(".")[2]
    if own in known:
        return CATEGORY_TO_CLASS.get(known[own], IGNORE)
    for part in reversed(category.lower().split(".")):
        near = difflib.get_close_matches(part, DETECTION_CLASSES, n=1, cutoff=0.6)
        if near:
            return near[0]
    return IGNORE


def _channel(index: Index, column: int) -> str:
    return str(index.channels[column].decode())
