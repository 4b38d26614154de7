"""portbev: BEV perception models on NVIDIA CUDA, AMD ROCm, Huawei Ascend NPU and CPU from one source.

The names below are loaded when they are first used: ``import portbev`` stays cheap and imports no vendor package.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_LAZY = {
    "PortbevError": "portbev.errors",
    "activate": "portbev.runtime",
    "load_config": "portbev.config",
}

__all__ = ["PortbevError", "__version__", "activate", "load_config"]

if TYPE_CHECKING:
    from portbev.config import load_config
    from portbev.errors import PortbevError
    from portbev.runtime import activate


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'portbev' has no attribute {name!r}")
