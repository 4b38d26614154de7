"""NVIDIA CUDA as a portbev plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.backend import Backend
    from portbev.doctor import Checkup
    from portbev.kernels import Kernel


@hookimpl
def portbev_backends() -> list[Backend]:
    """The backend ``cuda``."""
    from portbev_cuda.backend import CudaBackend

    return [CudaBackend()]


@hookimpl
def portbev_kernels() -> list[Kernel]:
    """Kernels of libraries for CUDA, some of which serve ROCm as well."""
    from portbev_cuda import cupy_fft, deformops_triton, mmcv_ops

    return [cupy_fft.KERNEL, *deformops_triton.KERNELS, *mmcv_ops.KERNELS]


@hookimpl
def portbev_checkups() -> list[Checkup]:
    """NVIDIA's GPU, driver, libraries and toolkit, for ``portbev doctor``."""
    from portbev_cuda.checkup import CHECKUP

    return [CHECKUP]
