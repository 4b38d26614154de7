"""Checks of arguments, worded as a device's library words them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from portbev_emulated.memory import on_device


class ArgumentError(RuntimeError):
    """A call that the real library would refuse or compute nonsense for."""


def require(condition: bool, function: str, message: str) -> None:
    """Raise unless ``condition`` holds."""
    if not condition:
        raise ArgumentError(f"{function}: {message}")


def tensor(function: str, name: str, value: object, dtype: torch.dtype, shape: Sequence[int | None]) -> Tensor:
    """``value`` if it is an npu tensor of ``dtype`` and ``shape`` (None: any size)."""
    if not isinstance(value, Tensor):
        raise ArgumentError(f"{function}: {name} must be a tensor, not {type(value).__name__}")
    require(on_device(value), function, f"{name} must be on npu, is on {value.device}")
    require(value.dtype == dtype, function, f"{name} must be {dtype}, is {value.dtype}")
    fits = value.dim() == len(shape) and all(
        want is None or want == have for want, have in zip(shape, value.shape, strict=True)
    )
    wanted = ", ".join("?" if size is None else str(size) for size in shape)
    require(fits, function, f"{name} must have shape ({wanted}), has {tuple(value.shape)}")
    return value


def integers(function: str, name: str, value: object, length: int, least: int) -> list[int]:
    """``value`` as a list if it is ``length`` ints, none below ``least``."""
    good = isinstance(value, (list, tuple)) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
    if not good or not isinstance(value, (list, tuple)):
        raise ArgumentError(f"{function}: {name} must be a list of {length} ints, is {value!r}")
    require(len(value) == length, function, f"{name} must have {length} values, has {len(value)}")
    require(all(v >= least for v in value), function, f"{name} must be at least {least}, is {list(value)}")
    return list(value)


def pair(function: str, name: str, value: object, least: int) -> list[int]:
    """``value`` as (along height, along width): an int stands for both."""
    return integers(function, name, [value, value] if isinstance(value, int) else value, 2, least)


def output_size(size: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Length of a convolution's output along one axis."""
    return (size + 2 * padding - (dilation * (kernel - 1) + 1)) // stride + 1
