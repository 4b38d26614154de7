"""The backend ``cuda``."""

from __future__ import annotations

import os
from typing import Any

import torch

from portbev.combinations import ABSENT, Combination
from portbev.distributions import version_of
from portbev.precision import Determinism, Precision
from portbev.probing import Availability
from portbev_cuda import nvml
from portbev_cuda.driver import Driver
from portbev_cuda.probe import probe
from portbev_torch_cuda.backend import GpuBackend, collectives_version

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_CUPY = {12: ">=13.3", 13: ">=13.6"}
"""Versions of cupy-cudaNx for CUDA N; the wheels of two of them overwrite each other."""


def _combination(major: int) -> Combination:
    cupy = {f"cupy-cuda{number}x": wanted if number == major else ABSENT for number, wanted in _CUPY.items()}
    return Combination(
        {"torch": ">=2.8", "CUDA": f"=={major}.*", "triton": ">=3.2", **cupy, "Python": ">=3.10,<3.14"},
        "published together; what needs no device is tested every commit",
        optional=("triton", f"cupy-cuda{major}x"),
        extra=f"cuda{major}",
    )


class CudaBackend(GpuBackend):
    """NVIDIA GPUs. A torch built for ROCm calls its devices ``cuda`` too; those belong to the backend rocm."""

    name = "cuda"
    visible_devices = "CUDA_VISIBLE_DEVICES"
    priority = 40
    combinations = tuple(_combination(major) for major in _CUPY)
    recorded = ("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "PYTORCH_CUDA_ALLOC_CONF", "NCCL_ALGO", WORKSPACE)

    def probe(self) -> Availability:
        return probe()

    def activate(self, precision: Precision = "highest", deterministic: Determinism = "preferred") -> None:
        """TF32 and reduced-precision sums off (``highest``) or TF32 on (``fast``); deterministic algorithms.

        cuBLAS reads its workspace setting when its first handle is made: activate before anything runs.
        """
        if deterministic != "off":
            os.environ.setdefault(WORKSPACE, ":4096:8")
        super().activate(precision, deterministic)

    def energy(self) -> float | None:
        """By the driver's counter, see :mod:`portbev_cuda.nvml`."""
        return nvml.joules(f"GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}")

    def components(self) -> dict[str, str | None]:
        if torch.version.cuda is None:
            return {}
        names = ("triton", *(f"cupy-cuda{major}x" for major in _CUPY))
        return {**super().components(), "CUDA": torch.version.cuda, **{name: version_of(name) for name in names}}

    def versions(self) -> dict[str, Any]:
        """CUDA, what the driver supports of it, cuDNN, NCCL, Triton."""
        return {
            "cuda": torch.version.cuda,
            "driver_supports_cuda": Driver().version,
            "cudnn": torch.backends.cudnn.version(),
            "nccl": collectives_version(),
            "triton": version_of("triton"),
        }

    def architecture(self, index: int) -> dict[str, str]:
        """The compute capability, ``9.0``."""
        major, minor = torch.cuda.get_device_capability(index)
        return {"capability": f"{major}.{minor}"}
