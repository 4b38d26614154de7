"""The backend ``cuda``."""

from __future__ import annotations

import os
from typing import Any

import torch

from portbev.backend import Availability, Backend, Precision, host_environment
from portbev.distributions import shadowed, version_of
from portbev_cuda.driver import Driver
from portbev_cuda.probe import probe

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
_RECORDED = ("CUDA_VISIBLE_DEVICES", "CUDA_LAUNCH_BLOCKING", "PYTORCH_CUDA_ALLOC_CONF", "NCCL_ALGO", WORKSPACE)


class CudaBackend(Backend):
    """NVIDIA GPUs. A torch built for ROCm calls its devices ``cuda`` too; those belong to the backend rocm."""

    name = "cuda"
    device_type = "cuda"
    collective = "nccl"
    visible_devices = "CUDA_VISIBLE_DEVICES"
    priority = 40

    def probe(self) -> Availability:
        return probe()

    def activate(self, precision: Precision = "highest", deterministic: bool = False) -> None:
        """TF32 and reduced-precision sums off (``highest``) or TF32 on (``fast``); deterministic algorithms.

        cuBLAS reads its workspace setting when its first handle is made: activate before anything runs.
        """
        fast = precision == "fast"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = fast
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = fast
        if deterministic:
            os.environ.setdefault(WORKSPACE, ":4096:8")
        torch.use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic = deterministic
        torch.backends.cudnn.benchmark = not deterministic

    def environment(self) -> dict[str, Any]:
        """Versions of driver, runtime, cuDNN and NCCL, device names, and the settings that change results."""
        return {
            **host_environment(),
            "cuda": torch.version.cuda,
            "driver_supports_cuda": Driver().version,
            "cudnn": torch.backends.cudnn.version(),
            "nccl": _nccl_version(),
            "triton": version_of("triton"),
            "devices": [_describe(index) for index in range(self.device_count())],
            "allow_tf32": {
                "matmul": torch.get_float32_matmul_precision() != "highest",
                "cudnn": torch.backends.cudnn.allow_tf32,
            },
            "variables": {name: os.environ[name] for name in _RECORDED if name in os.environ},
            "warnings": shadowed(),
        }


def _nccl_version() -> str | None:
    try:
        return ".".join(str(part) for part in torch.cuda.nccl.version())
    except (AttributeError, RuntimeError):
        return None


def _describe(index: int) -> dict[str, Any]:
    facts = torch.cuda.get_device_properties(index)
    return {
        "name": facts.name,
        "capability": f"{facts.major}.{facts.minor}",
        "memory": int(facts.total_memory),
        "multiprocessors": int(facts.multi_processor_count),
    }
