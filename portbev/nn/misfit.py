"""Why a checkpoint does not fit a model, in terms of the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch

from portbev.lists import Shortened, named

Shapes = Mapping[str, torch.Size]
BLOCKS = {
    "BasicBlock": {(2, 2, 2, 2): 18, (3, 4, 6, 3): 34},
    "Bottleneck": {(3, 4, 6, 3): 50, (3, 4, 23, 3): 101, (3, 8, 36, 3): 152},
}
_STAGE = re.compile(r"(?:^|(?P<root>.*)\.)layer(?P<stage>\d+)\.(?P<block>\d+)\.(?P<rest>.+)")
_LAYER = re.compile(r"(?P<root>.*\blayers|.*\b(?:cls|reg)_branches|.*\btask_heads)\.(?P<index>\d+)\.")


class Hint(NamedTuple):
    """A weight whose size is a setting: where names match ``pattern`` and shapes differ, ``what`` differs.

    ``key`` is the key of the configuration that sets it.
    """

    pattern: str
    what: str
    key: str


def summarise(problem: str, names: Iterable[str]) -> list[str]:
    """One message with the number of ``names`` and the first of them, or none where there are no names.

    Of many names the parts of the model that they are in come first (:func:`portbev.lists.named`).
    """
    names = list(names)
    if not names:
        return []
    text = f"{len(names)} {problem}"
    return [Shortened(f"{text} ({named(names)})", f"{text} ({', '.join(names)})")]


def reasons(theirs: Shapes, ours: Shapes, hints: Sequence[Hint] = ()) -> list[str]:
    """What differs between two models, as far as the names and shapes of their weights show it."""
    found = [*_backbones(theirs, ours), *_layers(theirs, ours)]
    told = set()
    for hint in hints:
        for name, shape in ours.items():
            other = theirs.get(name)
            if other is None or other == shape or hint.key in told or not re.search(hint.pattern, name):
                continue
            told.add(hint.key)
            found.append(f"{hint.what} ({_sizes(other, shape)}: {hint.key})")
    return found


def resnet_name(names: Iterable[str], root: str = "") -> str:
    """``ResNet-50`` and the like for the names of a ResNet's weights below ``root``; empty if they are not one's."""
    blocks: dict[int, int] = {}
    bottleneck = False
    for name in names:
        match = _STAGE.fullmatch(name)
        if match and (match["root"] or "") == root:
            stage, block = int(match["stage"]), int(match["block"])
            blocks[stage] = max(blocks.get(stage, 0), block + 1)
            bottleneck = bottleneck or match["rest"].startswith("conv3.")
    if not blocks:
        return ""
    counts = tuple(blocks.get(stage, 0) for stage in range(1, max(blocks) + 1))
    for layout, depth in BLOCKS["Bottleneck" if bottleneck else "BasicBlock"].items():
        if layout[: len(counts)] == counts:
            later = [other for other, _ in BLOCKS["Bottleneck" if bottleneck else "BasicBlock"].items()]
            if sum(other[: len(counts)] == counts for other in later) == 1:
                return f"ResNet-{depth}"
    return f"ResNet with {'-'.join(map(str, counts))} {'bottleneck' if bottleneck else 'basic'} blocks"


def _backbones(theirs: Shapes, ours: Shapes) -> list[str]:
    roots = {m["root"] or "" for name in ours if (m := _STAGE.fullmatch(name))}
    found = []
    for root in sorted(roots):
        there, here = resnet_name(theirs, root), resnet_name(ours, root)
        if there and there != here:
            found.append(f"{root or 'the backbone'} is a {there} there and a {here} here")
    return found


def _layers(theirs: Shapes, ours: Shapes) -> list[str]:
    there, here = _counts(theirs), _counts(ours)
    return [
        f"{root} has {there[root]} parts there and {count} here"
        for root, count in here.items()
        if root in there and there[root] != count
    ]


def _counts(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        if match := _LAYER.match(name):
            root = match["root"]
            counts[root] = max(counts.get(root, 0), int(match["index"]) + 1)
    return counts


def _sizes(there: torch.Size, here: torch.Size) -> str:
    if len(there) == len(here):
        differing = [(a, b) for a, b in zip(there, here, strict=True) if a != b]
        return f"{differing[0][0]} there, {differing[0][1]} here"
    return f"{tuple(there)} there, {tuple(here)} here"
