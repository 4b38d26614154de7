"""Stand-ins for ``torch_npu`` and ``mx_driving`` with the documented signatures and limits.

They check every argument against the vendor's documentation on their own, without the npu backend's help, and raise
as the device would; then they compute with portbev's kernels for the CPU on the host.
"""

from __future__ import annotations

import importlib.machinery
import sys
from types import ModuleType

VERSION = "2.13.0+emulated"


def register() -> None:
    """Put the stand-ins where ``import torch_npu`` and ``import mx_driving`` find them."""
    from portbev_emulated.standins import driving, npu

    _publish("torch_npu", npu.FUNCTIONS)
    _publish("mx_driving", {**driving.FUNCTIONS, "_C": _publish("mx_driving._C", driving.PRIVATE)})


def _publish(name: str, functions: dict[str, object]) -> ModuleType:
    module = ModuleType(name, f"Emulated {name}: documented signatures and limits, computed on the host.")
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)
    module.__dict__.update(functions, __version__=VERSION, __all__=list(functions))
    sys.modules[name] = module
    return module
