"""Tells where the host would wait for the device: each wait is a hole in an accelerator's work.

The emulated device never makes anyone wait, and sees every operator and copy: also those of kernels and of the backward
pass. What a vendor's kernel does inside, it does not know.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from portbev_emulated import execute
from portbev_emulated.memory import on_device

Kind = Literal["read", "size", "send"]
"""``read``: the host takes values from the device. ``size``: a result is as large as values of the device say.
``send``: the host gives values by a copy that it waits for."""

_READS = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero"}
_SIZES = {"aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim", "aten::unique_consecutive"}
_OWN = __name__.split(".")[0]
_STANDINS = Path(__file__).parent / "standins"


@dataclass(frozen=True)
class Wait:
    """A wait: its kind, the operator that waits, and the innermost line of this project that led to it."""

    kind: Kind
    operator: str
    place: str


@contextmanager
def watched() -> Iterator[list[Wait]]:
    """The waits within the block, in their order."""
    found: list[Wait] = []

    def observe(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        kind = _kind(name, args, kwargs)
        place = None if kind is None else _place()
        if kind is not None and place is not None:
            found.append(Wait(kind, name, place))

    execute.observers.append(observe)
    try:
        yield found
    finally:
        execute.observers.remove(observe)


def listed(waits: list[Wait]) -> str:
    """The waits for people, those of one place once with their number."""
    return "\n".join(f"{n:4} {w.kind:5} {w.operator} {w.place}" for w, n in Counter(waits).items())


def _kind(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Kind | None:
    if name == "aten::copy_":
        return _copy_kind(*args)
    if name in _READS:
        return "read"
    if name in _SIZES or (name == "aten::repeat_interleave.Tensor" and kwargs.get("output_size") is None):
        return "size"
    if not name.startswith("aten::index"):
        return None
    indices = [leaf for leaf in pytree.tree_leaves(args[1:]) if isinstance(leaf, Tensor)]
    if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
        return "size"
    return "send" if any(index.dim() and not on_device(index) for index in indices) else None


def _copy_kind(target: Tensor, source: Tensor, non_blocking: bool) -> Kind | None:
    if on_device(source) == on_device(target):
        return None
    if on_device(source):
        return "read"
    return None if non_blocking else "send"


def _place() -> str | None:
    """The innermost line of the project that is not the emulator's; None within a stand-in, which is a vendor's."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if Path(frame.f_code.co_filename).parent == _STANDINS:
            return None
        module = str(frame.f_globals.get("__name__"))  # a file may lie in a checkout or be installed
        package = module.split(".", maxsplit=1)[0]
        if package.startswith("portbev") and package != _OWN:
            return f"{module.replace('.', '/')}.py:{frame.f_lineno}"
        frame = frame.f_back
    return "backward pass"
