"""Which of the tensors in a checkpoint are a model's weights, decided by the names that they meet."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from portbev.tensorfiles.standins import walk

WRAPPERS = frozenset({"module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""Parts of names that torch and its companions put anywhere into them, by wrapping a module."""
_AVERAGE = re.compile(r"(^|[._])(ema|swa|averaged?)($|[._])", re.IGNORECASE)
_SECOND = re.compile(r"teacher|momentum|target|encoder_k|key_encoder", re.IGNORECASE)


@dataclass
class Found:
    """The tensors of one place in a checkpoint.

    Attributes:
        place: what stands before the names of the weights, without the last dot; empty: nothing.
        weights: the tensors there, by name.
        beside: names of tensors in the same mapping that stand elsewhere.
        others: other places where as many weights of the model are.
        average: whether these are averaged weights.
    """

    place: str = ""
    weights: dict[str, Tensor] = field(default_factory=dict)
    beside: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def average(self) -> bool:
        return bool(_AVERAGE.search(self.place))


def find_weights(content: object, shapes: Mapping[str, torch.Size], *, prefer_average: bool = True) -> Found:
    """The place in ``content`` where most of the names in ``shapes`` are, first of all in their shapes.

    Every mapping is looked into, however deep, and every beginning of a name may be a wrapper's: ``module.``,
    ``model.``, ``student.`` or what else. Of several places with as many weights, the averaged one is taken if
    ``prefer_average``, else the other; a student rather than its teacher; the shortest.
    """
    tensors = dict(_tensors(content, shapes))
    counts: Counter[str] = Counter()
    for name, value in tensors.items():
        for place, rest in _splits(name):
            if rest in shapes:
                counts[place] += 2 if value.shape == shapes[rest] else 1
    if not counts:
        return Found()
    most = max(counts.values())
    places = sorted(
        (place for place, count in counts.items() if count == most),
        key=lambda place: (
            bool(_AVERAGE.search(place)) != prefer_average,
            bool(_SECOND.search(place)),
            len(place),
            place,
        ),
    )
    place = places[0]
    start = f"{place}." if place else ""
    mapping, node = _mapping_at(content, place)
    foreign = tuple(f"{start}{part}." for part in _foreign_mappings(node, shapes)) if mapping == start else ()
    weights, beside = {}, []
    for name, value in tensors.items():
        if name.startswith(start) and not name.startswith(foreign):
            weights[name[len(start) :]] = value
        elif name.startswith(mapping):
            beside.append(name)
    return Found(place, weights, beside, places[1:])


def _foreign_mappings(node: object, names: Collection[str]) -> list[str]:
    """Keys of mappings beside the weights, such as ``optimizer``, that no name of the model begins with."""
    parts = {name.partition(".")[0] for name in names}
    items = node.items() if isinstance(node, Mapping) else ()
    return [str(key) for key, value in items if isinstance(value, Mapping) and str(key) not in parts]


def without_averages(content: Mapping[str, Any]) -> Mapping[str, Any]:
    """``content`` without its averaged weights, where it has others beside them."""
    rest = {key: value for key, value in content.items() if not _AVERAGE.search(str(key))}
    return rest if all_tensors(rest) else content


def tensor_of(value: object) -> Tensor | None:
    """A tensor, or an array of numbers as one; None for anything else."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        native = value.astype(value.dtype.newbyteorder("="))
        return torch.from_numpy(native) if native.dtype.kind != "u" or native.dtype.itemsize == 1 else None
    return None


def all_tensors(content: object) -> list[str]:
    """Dotted names of all tensors in a checkpoint."""
    return [name for name, _ in _tensors(content, ())]


def _tensors(content: object, names: Collection[str]) -> Iterator[tuple[str, Tensor]]:
    """All tensors by dotted name, without the wrappers' parts (unless the model's own names have such a part)."""
    own = {part for name in names for part in name.split(".")}
    wrappers = WRAPPERS - own
    for name, leaf in walk(content):
        value = tensor_of(leaf)
        if value is not None:
            yield ".".join(part for part in name.split(".") if part not in wrappers), value


def _splits(name: str) -> Iterator[tuple[str, str]]:
    """Every (beginning, rest) of a dotted name, the empty beginning first."""
    yield "", name
    at = name.find(".")
    while at >= 0:
        yield name[:at], name[at + 1 :]
        at = name.find(".", at + 1)


def _mapping_at(content: object, place: str) -> tuple[str, object]:
    """The dotted beginning of ``place`` that names mappings in mappings, and the last of them."""
    path = ""
    node: Any = content
    for part in place.split(".") if place else ():
        if not isinstance(node, Mapping) or not isinstance(node.get(part), Mapping):
            break
        node, path = node[part], f"{path}{part}."
    return path, node


def class_names(content: object) -> list[str]:
    """The classes that a checkpoint names beside its weights, in the order of its outputs; empty if it names none."""
    best: list[str] = []
    for name, leaf in walk(content):
        if name.rpartition(".")[2].lower() in ("classes", "class_names", "tasks") and isinstance(leaf, list | tuple):
            flat = [x for item in leaf for x in (item if isinstance(item, list | tuple) else [item])]
            if flat and all(isinstance(item, str) for item in flat) and not best:
                best = [str(item) for item in flat]
    return best


def class_notes(theirs: list[str], ours: list[str]) -> list[str]:
    """What a person should know where a checkpoint's classes are not the model's; one line or none."""
    if not theirs or theirs == ours:
        return []
    moved = [
        f"{name} {theirs.index(name)} there, {at} here" for at, name in enumerate(ours) if _moved(name, at, theirs)
    ]
    if set(theirs) == set(ours):
        what = f"has the same classes at other places ({', '.join(moved)}): what it calls one the model calls another"
    else:
        absent = [name for name in ours if name not in theirs]
        extra = [name for name in theirs if name not in ours]
        parts = [("not in it: ", absent), ("only in it: ", extra), ("at other places: ", moved)]
        what = "has other classes (" + "; ".join(head + ", ".join(names) for head, names in parts if names) + ")"
    return [f"the checkpoint {what}"]


def _moved(name: str, at: int, theirs: list[str]) -> bool:
    return name in theirs and theirs.index(name) != at
