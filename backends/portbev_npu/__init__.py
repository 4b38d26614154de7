"""Huawei Ascend NPU as a portbev plugin.

Written from the published interfaces of torch_npu 2.13 and DrivingSDK (mx_driving). No vendor package is imported
before the backend is probed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.backend import Backend
    from portbev.doctor import Checkup
    from portbev.kernels import Kernel


@hookimpl
def portbev_backends() -> list[Backend]:
    """The backend ``npu``."""
    from portbev_npu.backend import NpuBackend

    return [NpuBackend()]


@hookimpl
def portbev_kernels() -> list[Kernel]:
    """Kernels of mx_driving and torch_npu for portbev's operators."""
    from portbev_npu.kernels import KERNELS

    return list(KERNELS)


@hookimpl
def portbev_checkups() -> list[Checkup]:
    """Ascend's chips, driver, CANN and packages, for ``portbev doctor``."""
    from portbev_npu.checkup import CHECKUP

    return [CHECKUP]
