"""Kernels as they are compiled ahead for an architecture, without a device: to count registers and find spills."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

DTYPES = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Variant:
    """A kernel with the types of its arguments.

    Attributes:
        name: of the kernel in ``settings.json``.
        label: what tells it from other variants of the kernel, for example a dtype.
        kernel: a function of ``triton.jit``.
        signature: Triton's type of each argument that is no constant: ``*fp32``, ``i32``, ``fp32`` ...
        constants: ``tl.constexpr`` arguments besides those that the settings give.
        aligned: integer arguments that a multiple of 16 is passed for; pointers always are.
    """

    name: str
    label: str
    kernel: Any
    signature: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    aligned: tuple[str, ...] = ()
