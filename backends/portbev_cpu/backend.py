"""The backend ``cpu``."""

from __future__ import annotations

from typing import Any

import torch

from portbev.backend import Availability, Backend, HostMemory, Precision, Stage, host_environment


class CpuBackend(Backend):
    name = "cpu"
    device_type = "cpu"
    collective = "gloo"
    priority = 0

    def probe(self) -> Availability:
        return Availability((Stage("torch", True, torch.__version__),))

    def activate(self, precision: Precision = "highest", deterministic: bool = False) -> None:
        # On CPUs with bf16 units "fast" lets oneDNN round float32 matrix products to bf16.
        torch.set_float32_matmul_precision("highest" if precision == "highest" else "medium")
        torch.use_deterministic_algorithms(deterministic)
        # Filling every new tensor finds reads of unset memory; it changes no result and costs a sixth of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def environment(self) -> dict[str, Any]:
        return {
            **host_environment(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "mkl": torch.backends.mkl.is_available(),
        }

    def device(self, index: int | None = None) -> torch.device:
        return torch.device("cpu")

    def device_name(self, index: int | None = None) -> str:
        return str(host_environment()["processor"])

    def set_device(self, index: int) -> None:
        """There is one CPU; every rank uses it."""

    def reset_peak_memory(self) -> None:
        HostMemory.reset()

    def peak_memory(self) -> int:
        return HostMemory.peak()

    def rng_state(self) -> torch.Tensor | None:
        return None

    def set_rng_state(self, state: torch.Tensor) -> None:
        """The CPU's generator is saved with the process's own state."""
