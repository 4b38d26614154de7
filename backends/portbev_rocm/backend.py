"""The backend ``rocm``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from portbev.combinations import ABSENT, Combination
from portbev.distributions import installed, version_of
from portbev.precision import Determinism, Precision
from portbev.probing import Availability
from portbev_rocm import smi
from portbev_rocm.probe import arch_of, probe
from portbev_torch_cuda.backend import GpuBackend, collectives_version

TF32 = "HIPBLASLT_ALLOW_TF32"
_TESTED = "published together; what needs no device is tested every commit"
_OTHERS = {"cupy-rocm-5-0": ABSENT, "Python": ">=3.10,<3.14"}
_MODULE_VERSION = Path("/sys/module/amdgpu/version")


class RocmBackend(GpuBackend):
    """AMD GPUs. torch calls them ``cuda``; ``torch.version.hip`` tells them apart. Collectives ``nccl`` are RCCL."""

    name = "rocm"
    visible_devices = "HIP_VISIBLE_DEVICES"
    priority = 30
    combinations = (
        Combination(
            {"torch": ">=2.8", "ROCm": "==7.*", "cupy-rocm-7-0": ">=14.0", **_OTHERS},
            _TESTED,
            optional=("cupy-rocm-7-0",),
            extra="rocm7",
        ),
        Combination({"torch": ">=2.8", "ROCm": "==6.*", "cupy-rocm-7-0": ABSENT, **_OTHERS}, _TESTED),
    )
    recorded = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "MIOPEN_FIND_MODE", "HSA_OVERRIDE_GFX_VERSION", TF32)

    def probe(self) -> Availability:
        return probe()

    def activate(self, precision: Precision = "highest", deterministic: Determinism = "preferred") -> None:
        """TF32 (xf32 on CDNA3) off (``highest``) or allowed (``fast``); deterministic algorithms.

        MIOpen picks an algorithm by trial unless asked for deterministic ones.
        """
        os.environ[TF32] = "1" if precision == "fast" else "0"
        super().activate(precision, deterministic)

    def energy(self) -> float | None:
        """By the driver's counter, where AMD's management library is installed (package ``amdsmi``)."""
        return smi.joules(torch.cuda.current_device())

    def components(self) -> dict[str, str | None]:
        if torch.version.hip is None:
            return {}
        cupy = {name: version_of(name) for name in ("cupy-rocm-7-0", "cupy-rocm-5-0")}
        return {**super().components(), "ROCm": torch.version.hip, **cupy}

    def versions(self) -> dict[str, Any]:
        """HIP, the driver's module, MIOpen, RCCL, Triton, CuPy."""
        return {
            "hip": torch.version.hip,
            "amdgpu": _MODULE_VERSION.read_text().strip() if _MODULE_VERSION.exists() else None,
            "miopen": torch.backends.cudnn.version(),
            "rccl": collectives_version(),
            "triton": version_of("triton") or version_of("pytorch-triton-rocm"),
            "cupy": installed("cupy-rocm"),
        }

    def architecture(self, index: int) -> dict[str, str]:
        """The architecture's name, ``gfx942``."""
        return {"architecture": arch_of(index)}
