"""Plain CPU, present everywhere, as a plugin like every other device family.

Nothing of it is imported before its hooks are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.backend import Backend
    from portbev.kernels import Kernel


@hookimpl
def portbev_backends() -> list[Backend]:
    """The backend ``cpu``."""
    from portbev_cpu.backend import CpuBackend

    return [CpuBackend()]


@hookimpl
def portbev_kernels() -> list[Kernel]:
    """Fast CPU forms of operators whose reference is written for every device."""
    from portbev_cpu.kernels import KERNELS

    return list(KERNELS)
