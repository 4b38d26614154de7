"""The backend ``cpu``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import nn

from portbev.backend import Backend, use_deterministic_algorithms
from portbev.combinations import Combination
from portbev.config.schema import ComputeSection
from portbev.host import HostMemory, host_environment
from portbev.precision import Determinism, Precision
from portbev.probing import Availability, Stage
from portbev_cpu import conv_gradients, heap, linear_products, rapl


class CpuBackend(Backend):
    """Plain CPU: always there, one device, its memory is the host's."""

    name = "cpu"
    device_type = "cpu"
    collective = "gloo"
    priority = 0
    own_settings = ("keep_freed_memory", "linear", "weight_gradients")
    combinations = (
        Combination({"torch": "==2.13.*", "Python": "==3.11.*"}, "tested every commit"),
        Combination({"torch": ">=2.8", "Python": ">=3.10,<3.14"}, "not tested every commit (docs/compatibility.md)"),
    )

    def other_order(self) -> tuple[str, AbstractContextManager[Any]] | None:
        if not torch.backends.mkldnn.is_available():
            return None
        return "torch's own convolutions and products in place of oneDNN's", _without_onednn()

    def probe(self) -> Availability:
        return Availability((Stage("torch", True, torch.__version__),))

    def activate(self, precision: Precision = "highest", deterministic: Determinism = "preferred") -> None:
        # On CPUs with bf16 units "fast" lets oneDNN round float32 matrix products to bf16.
        torch.set_float32_matmul_precision("highest" if precision == "highest" else "medium")
        use_deterministic_algorithms(deterministic)
        # Filling every new tensor finds reads of unset memory; it changes no result and costs a sixth of a step.
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def environment(self) -> dict[str, Any]:
        return {
            **host_environment(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),
            "mkldnn": torch.backends.mkldnn.is_available(),
            "mkl": torch.backends.mkl.is_available(),
        }

    def prepare_host(self, compute: ComputeSection) -> list[str]:
        """Besides the threads: the C library keeps freed memory, which lasts until the process ends."""
        notes = super().prepare_host(compute)
        if compute.keep_freed_memory is not False:
            state = heap.keep_freed_memory(everything=compute.keep_freed_memory is True)
            if state != "kept" and compute.keep_freed_memory:
                notes.append(f"compute.keep_freed_memory: the heap stays {state}")
        return notes

    def prepare_model(self, model: nn.Module, compute: ComputeSection) -> list[str]:
        """Besides the memory format: the ways to the weight gradients of large convolutions and to linear layers."""
        notes = super().prepare_model(model, compute)
        return [*notes, *_weight_gradients(model, compute), *_linear(model, compute)]

    def bev_channels_last(self, compute: ComputeSection) -> bool:
        """With AVX2, oneDNN's weight gradients of channels-last 3x3 convolutions take twice as long as contiguous."""
        return compute.weight_gradients == "avx2" or "AVX512" in torch.backends.cpu.get_cpu_capability()

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

    def energy(self) -> float | None:
        """By Linux's counters of the processors' packages, which often only root may read."""
        return rapl.joules()

    def rng_state(self) -> torch.Tensor | None:
        return None

    def set_rng_state(self, state: torch.Tensor) -> None:
        """The CPU's generator is saved with the process's own state."""


def _weight_gradients(model: nn.Module, compute: ComputeSection) -> list[str]:
    if compute.weight_gradients == "torch":
        conv_gradients.use_torch_weight_gradients(model)
        return []
    if not conv_gradients.use_avx2_weight_gradients(model):
        return ["compute.weight_gradients: this model has no plain convolution for avx2 to serve"]
    if compute.amp != "none":
        return [f"compute.weight_gradients: avx2 is for float32; with amp {compute.amp} it is torch's own way"]
    if compute.memory_format != "channels_last":
        return ["compute.weight_gradients: avx2 is for channels-last maps, and compute.memory_format is contiguous"]
    return []


def _linear(model: nn.Module, compute: ComputeSection) -> list[str]:
    if compute.linear == "torch" or not linear_products.available():
        linear_products.use_torch_products(model)
        return (
            [] if compute.linear == "torch" else ["compute.linear: this torch has no oneDNN; torch's own way is taken"]
        )
    if not linear_products.use_onednn_products(model):
        return ["compute.linear: this model has no plain linear layer for onednn to serve"]
    if compute.amp != "none":
        return [f"compute.linear: onednn is for float32; with amp {compute.amp} it is torch's own way"]
    return []


@contextmanager
def _without_onednn() -> Iterator[None]:
    onednn: Any = torch.backends.mkldnn
    before = onednn.enabled
    onednn.enabled = False
    try:
        yield
    finally:
        onednn.enabled = before
