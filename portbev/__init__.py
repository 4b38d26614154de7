"""portbev: BEV perception models on NVIDIA CUDA, AMD ROCm, Huawei Ascend NPU and CPU from one source.

``import portbev`` stays cheap and imports no vendor package: what needs more is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from portbev.autoload import no_autoload
from portbev.errors import PortbevError

if TYPE_CHECKING:
    from portbev.config import load_config
    from portbev.runtime import activate

__version__ = "0.1.0"
__all__ = ["PortbevError", "__version__", "activate", "load_config"]


def __getattr__(name: str) -> Any:
    """``activate`` and ``load_config``, on first use."""
    if name == "activate":
        with no_autoload():
            from portbev.runtime import activate

        return activate
    if name == "load_config":
        with no_autoload():
            from portbev.config import load_config

        return load_config
    raise AttributeError(f"module 'portbev' has no attribute {name!r}")
