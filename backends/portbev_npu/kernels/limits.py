"""Phrases for what a vendor's kernel cannot do, and whether its package is there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from operator import attrgetter
from types import ModuleType
from typing import Any, TypeVar

import torch
from torch import Tensor

from portbev.ops.precision import HALF, widened
from portbev_npu import vendor

Call = TypeVar("Call", bound=Any)

MX_DRIVING_CURE = "pip install 'portbev[npu-driving]' (mx-driving takes torch 2.6 to 2.8, on Python 3.10 or 3.11)"


def floating(call: Any) -> dict[str, Tensor]:
    """The floating-point tensors of a call by name."""
    found = call._asdict().items()
    return {name: value for name, value in found if isinstance(value, Tensor) and value.is_floating_point()}


def float32_only(provider: str, **tensors: Tensor) -> str | None:
    """None if every tensor given is float32, else the reason."""
    for name, tensor in tensors.items():
        if tensor.dtype != torch.float32:
            return f"{name} is {str(tensor.dtype).removeprefix('torch.')}; {provider} takes float32 only"
    return None


def float32_or_half(provider: str, **tensors: Tensor) -> str | None:
    """As :func:`float32_only` for a provider whose half-precision tensors are taken to float32 first."""
    return float32_only(provider, **{name: tensor for name, tensor in tensors.items() if tensor.dtype not in HALF})


def widened_call(call: Call) -> Call:
    """``call`` with its half-precision tensors in float32."""
    wide = {name: widened(tensor) for name, tensor in floating(call).items()}
    replaced: Call = call._replace(**wide)
    return replaced


def nonempty(**tensors: Tensor) -> str | None:
    """None if every tensor given has elements, else the reason."""
    return "empty input" if any(0 in tensor.shape for tensor in tensors.values()) else None


def first_of(*reasons: str | None) -> str | None:
    """The first reason there is."""
    return next((reason for reason in reasons if reason is not None), None)


def package_has(package: str, functions: tuple[str, ...], cure: str) -> Callable[[], str | None]:
    """Probe of a kernel: None if ``package`` imports and has ``functions`` (a name or ``module.name``), else the reason
    with its cure."""
    return partial(_missing, package, functions, cure)


def _missing(package: str, functions: tuple[str, ...], cure: str) -> str | None:
    if not vendor.is_installed(package):
        return f"{package} is not installed: {cure}"
    try:
        module = vendor.guarded_import(package)
    except ImportError as error:
        return f"import {package} failed: {error}"
    absent = [name for name in functions if not _has(module, name)]
    return f"this {package} has no {', '.join(absent)}" if absent else None


def _has(module: ModuleType, name: str) -> bool:
    try:
        attrgetter(name)(module)
    except AttributeError:
        return False
    return True
