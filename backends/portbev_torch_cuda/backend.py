"""Base of the backends whose device torch calls ``cuda``."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import torch

from portbev.backend import Backend, use_deterministic_algorithms
from portbev.distributions import shadowed
from portbev.host import host_environment
from portbev.precision import Determinism, Precision


class GpuBackend(Backend):
    """A GPU behind ``torch.cuda``.

    Attributes:
        recorded: environment variables that change results; their values go into the record.
    """

    device_type = "cuda"
    collective = "nccl"
    pins_memory = True
    recorded: ClassVar[tuple[str, ...]] = ()

    def other_order(self) -> tuple[str, AbstractContextManager[Any]] | None:
        if not torch.backends.cudnn.is_available():
            return None
        return "torch's own convolutions in place of the vendor's library", torch.backends.cudnn.flags(enabled=False)

    def activate(self, precision: Precision = "highest", deterministic: Determinism = "preferred") -> None:
        """Reduced-precision units and reduced-precision sums off (``highest``) or on (``fast``); determinism.

        Without determinism the library of convolutions picks its algorithms by trial.
        """
        fast = precision == "fast"
        torch.set_float32_matmul_precision("high" if fast else "highest")
        torch.backends.cudnn.allow_tf32 = fast
        torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = fast
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = fast
        use_deterministic_algorithms(deterministic)
        torch.backends.cudnn.deterministic = deterministic != "off"
        torch.backends.cudnn.benchmark = deterministic == "off"

    def environment(self) -> dict[str, Any]:
        """The host, the vendor's :meth:`versions`, the devices, and the settings that change results."""
        return {
            **host_environment(),
            **self.versions(),
            "devices": [self._describe(index) for index in range(self.device_count())],
            "allow_tf32": {
                "matmul": torch.get_float32_matmul_precision() != "highest",
                "cudnn": torch.backends.cudnn.allow_tf32,
            },
            "variables": {name: os.environ[name] for name in self.recorded if name in os.environ},
            "warnings": shadowed(),
        }

    def versions(self) -> dict[str, Any]:
        """Driver, runtime and libraries with their versions, as JSON values."""
        raise NotImplementedError

    def architecture(self, index: int) -> dict[str, str]:
        """What the vendor calls the architecture of device ``index``, by the vendor's word for it."""
        raise NotImplementedError

    def _describe(self, index: int) -> dict[str, Any]:
        facts = torch.cuda.get_device_properties(index)
        return {
            "name": facts.name,
            **self.architecture(index),
            "memory": int(facts.total_memory),
            "multiprocessors": int(facts.multi_processor_count),
        }


def collectives_version() -> str | None:
    """Version of the collectives' library in this torch; None if it has none."""
    try:
        return ".".join(str(part) for part in torch.cuda.nccl.version())
    except (AttributeError, RuntimeError):
        return None
