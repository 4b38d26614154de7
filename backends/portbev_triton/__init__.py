"""Kernels in Triton, one source for CUDA and ROCm, as a portbev plugin.

Nothing of Triton is imported before a kernel is called: it is an optional package, and torch for ROCm brings its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.kernels import Kernel


@hookimpl
def portbev_kernels() -> list[Kernel]:
    """Kernels of the providers ``triton`` and ``triton_atomic``."""
    from portbev_triton.records import KERNELS

    return list(KERNELS)
