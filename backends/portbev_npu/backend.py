"""The backend ``npu``."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

from portbev.backend import Backend, use_deterministic_algorithms
from portbev.distributions import shadowed, version_of
from portbev.errors import BackendError
from portbev.host import host_environment
from portbev.precision import Amp, Determinism, Precision
from portbev.probing import Availability
from portbev_npu import combinations, vendor
from portbev_npu.probe import probe

FALLBACK = "TORCH_NPU_FALLBACK_CPU_DISABLE"
INF_NAN_MODE = "INF_NAN_MODE_ENABLE"
_RECORDED = (
    "ASCEND_CUSTOM_OPP_PATH",
    "ASCEND_RT_VISIBLE_DEVICES",
    "ASCEND_LAUNCH_BLOCKING",
    "ASCEND_HOME_PATH",
    "HCCL_ALGO",
    "HCCL_DETERMINISTIC",
    "HCCL_EXEC_TIMEOUT",
    INF_NAN_MODE,
    "INF_NAN_MODE_FORCE_DISABLE",
    "PYTORCH_NPU_ALLOC_CONF",
    "TASK_QUEUE_ENABLE",
    "TORCH_NPU_USE_COMPATIBLE_IMPL",
    FALLBACK,
)


class NpuBackend(Backend):
    """Ascend NPU through torch_npu; the emulated npu goes through the same code."""

    name = "npu"
    device_type = "npu"
    collective = "hccl"
    visible_devices = "ASCEND_RT_VISIBLE_DEVICES"
    priority = 20
    pins_memory = True
    sums_wide = False
    combinations = combinations.ROWS

    def probe(self) -> Availability:
        return probe()

    def activate(self, precision: Precision = "highest", deterministic: Determinism = "preferred") -> None:
        """HF32 off (``highest``) or on (``fast``) for convolutions and matrix products; deterministic algorithms.

        torch_npu heeds only the first effective determinism setting of a thread: activate before anything runs.
        HCCL follows it unless ``HCCL_DETERMINISTIC`` is set, which wins.
        """
        hf32 = precision == "fast"
        torch.npu.conv.allow_hf32 = hf32  # type: ignore[attr-defined]
        torch.npu.matmul.allow_hf32 = hf32  # type: ignore[attr-defined]
        use_deterministic_algorithms(deterministic)

    def grad_scaler(self, amp: Amp, init_scale: float = 2.0**16) -> torch.amp.GradScaler:
        """As :meth:`portbev.backend.Backend.grad_scaler`.

        Raises:
            BackendError: fp16 on a device whose values saturate: an overflow would pass for a gradient.
        """
        if amp == "fp16" and not _overflow_shows():
            raise BackendError(
                "fp16 needs overflow to show as inf, and this npu's values saturate "
                f"({INF_NAN_MODE}={os.environ.get(INF_NAN_MODE, 'unset')})",
                where="compute.amp",
                cure=f"Set {INF_NAN_MODE}=1 if the chip can, or compute.amp to bf16 or none",
            )
        return super().grad_scaler(amp, init_scale)

    def as_emulated(self) -> Backend:
        twin = super().as_emulated()
        twin.combinations = combinations.EMULATED
        return twin

    def components(self) -> dict[str, str | None]:
        return super().components() if self.emulated else combinations.installed()

    def environment(self) -> dict[str, Any]:
        """Versions of torch_npu, mx_driving and CANN, device names, and the variables that change results."""
        module = torch.npu  # type: ignore[attr-defined]
        return {
            **host_environment(),
            "torch_npu": _version("torch_npu", "torch-npu"),
            "mx_driving": _version("mx_driving", "mx-driving", "mx-driving-a5"),
            "cann": combinations.cann_version(),
            "devices": [self.device_name(index) for index in range(self.device_count())],
            "allow_hf32": {"conv": bool(module.conv.allow_hf32), "matmul": bool(module.matmul.allow_hf32)},
            "variables": {name: os.environ[name] for name in _RECORDED if name in os.environ},
            "warnings": self._warnings(),
        }

    def _warnings(self) -> list[str]:
        found = shadowed()
        if vendor.TRANSFER in sys.modules:
            found.append(f"{vendor.TRANSFER} was imported before: torch.cuda and torch.distributed mean the npu here")
        if os.environ.get(FALLBACK) != "1" and not self.emulated:
            found.append(
                f"operators that the npu lacks run on the CPU without a word. Set {FALLBACK}=1 to make that an error"
            )
        return found


def _overflow_shows() -> bool:
    """Whether the device makes inf of an overflow; taken to be so where torch_npu does not say."""
    utils = getattr(torch.npu, "utils", None)  # type: ignore[attr-defined]
    asked = getattr(utils, "is_support_inf_nan", None)
    return True if asked is None else bool(asked())


def _version(package: str, *distributions: str) -> str | None:
    """Version of a vendor's package, from the loaded module or whichever distribution brings it; None if none does."""
    loaded = getattr(sys.modules.get(package), "__version__", None)
    if loaded is not None:
        return str(loaded)
    if not vendor.is_installed(package):
        return None
    return next((found for name in distributions if (found := version_of(name))), None)
