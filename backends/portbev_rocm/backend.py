"""The backend ``rocm``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from portbev.backend import Availability, Backend, Precision, host_environment
from portbev.distributions import installed, shadowed, version_of
from portbev_rocm.probe import arch_of, probe

TF32 = "HIPBLASLT_ALLOW_TF32"
_RECORDED = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "MIOPEN_FIND_MODE", "HSA_OVERRIDE_GFX_VERSION", TF32)
_MODULE_VERSION = Path("/sys/module/amdgpu/version")


class RocmBackend(Backend):
    """AMD GPUs. torch calls them ``cuda``; ``torch.version.hip`` tells them apart. Collectives ``nccl`` are RCCL."""

    name = "rocm"
    device_type = "cuda"
    collective = "nccl"
    visible_devices = "HIP_VISIBLE_DEVICES"
    priority = 30

    def probe(self) -> Availability:
        return probe()

    def activate(self, precision: Precision = "highest", deterministic: bool = False) -> None:
        """TF32 (xf32 on CDNA3) off (``highest``) or allowed (``fast``); deterministic algorithms.

        MIOpen picks an algorithm by trial unless asked for deterministic ones.
        """
        fast = precision == "fast"
        os.environ[TF32] = "1" if fast else "0"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = fast
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = fast
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = not deterministic

    def environment(self) -> dict[str, Any]:
        """Versions of driver, HIP, MIOpen and RCCL, device names, and the settings that change results."""
        return {
            **host_environment(),
            "hip": torch.version.hip,
            "amdgpu": _MODULE_VERSION.read_text().strip() if _MODULE_VERSION.exists() else None,
            "miopen": torch.backends.cudnn.version(),
            "rccl": _rccl_version(),
            "triton": version_of("triton") or version_of("pytorch-triton-rocm"),
            "cupy": installed("cupy-rocm"),
            "devices": [_describe(index) for index in range(self.device_count())],
            "allow_tf32": torch.get_float32_matmul_precision() != "highest",
            "variables": {name: os.environ[name] for name in _RECORDED if name in os.environ},
            "warnings": shadowed(),
        }


def _rccl_version() -> str | None:
    try:
        return ".".join(str(part) for part in torch.cuda.nccl.version())
    except (AttributeError, RuntimeError):
        return None


def _describe(index: int) -> dict[str, Any]:
    facts = torch.cuda.get_device_properties(index)
    return {
        "name": facts.name,
        "architecture": arch_of(index),
        "memory": int(facts.total_memory),
        "multiprocessors": int(facts.multi_processor_count),
    }
