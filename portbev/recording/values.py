"""Tensors in nested values, and the rest of them as text."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

_LONGEST = 400


def tensors_in(value: Any) -> Iterator[Tensor]:
    """The tensors of nested lists, tuples, mappings and dataclasses, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors_in(item)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from tensors_in(getattr(value, field.name))


def has_host_values(value: Any) -> bool:
    """Whether there are arrays or lists of numbers among nested arguments: the host may have made them of results."""
    if isinstance(value, (np.ndarray, np.generic)):
        return True
    if isinstance(value, list):
        return bool(value) and not any(isinstance(item, Tensor) for item in value)
    if isinstance(value, tuple):
        return any(has_host_values(item) for item in value)
    return isinstance(value, Mapping) and any(has_host_values(item) for item in value.values())


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Tensors, arrays and other plain values of a nested value, each with a dotted name."""
    if isinstance(value, Mapping):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        items = list(zip(value._fields, value, strict=True))
    elif isinstance(value, (list, tuple)):
        items = [(str(index), item) for index, item in enumerate(value)]
    elif is_dataclass(value) and not isinstance(value, type):
        items = [(field.name, getattr(value, field.name)) for field in fields(value)]
    else:
        yield name, value
        return
    for key, item in items:
        yield from leaves(item, f"{name}.{key}" if name else key)


def as_tensor(value: Any) -> Tensor | None:
    """A tensor with the content of a tensor, array or number; None for anything else."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, (bool, int, float, np.generic)):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc":
        try:
            return torch.from_numpy(np.ascontiguousarray(value))
        except TypeError:  # unsigned numbers that torch has not
            return torch.from_numpy(np.ascontiguousarray(value).astype(np.int64))
    return None


def as_text(value: Any) -> str:
    """A value without its tensors, the same on every device: what a call's arguments are compared by."""
    text = _text(value)
    if len(text) <= _LONGEST:
        return text
    return f"{text[: _LONGEST - 20]}...{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _text(value: Any) -> str:  # noqa: PLR0911  (a case a kind)
    if isinstance(value, Tensor):
        return "T"
    if value is None or isinstance(value, (bool, int, float, complex, str)):
        return repr(value)
    if isinstance(value, torch.device):
        return "device"
    if isinstance(value, (torch.dtype, torch.memory_format, torch.layout)):
        return "format" if isinstance(value, torch.memory_format) else str(value)
    if isinstance(value, slice):
        return f"{_text(value.start)}:{_text(value.stop)}:{_text(value.step)}"
    if isinstance(value, np.ndarray):
        return f"array{value.shape}{hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:16]}"
    if isinstance(value, np.generic):
        return repr(value.item())
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}={_text(item)}" for key, item in value.items() if key != "device") + "}"
    if isinstance(value, (list, tuple)):
        return "(" + ", ".join(_text(item) for item in value) + ")"
    return getattr(value, "__name__", type(value).__name__)
