"""The energy counter of a GPU, asked of NVIDIA's management library.

NVML API: nvmlInit_v2, nvmlDeviceGetHandleByUUID, nvmlDeviceGetTotalEnergyConsumption (millijoules since the driver was
loaded; Volta and later).
"""

from __future__ import annotations

import ctypes
import sys
from functools import lru_cache
from typing import Any


@lru_cache(maxsize=1)
def _library() -> Any:
    """NVML, initialised; None where there is none."""
    try:
        library = ctypes.CDLL("nvml.dll" if sys.platform == "win32" else "libnvidia-ml.so.1")
    except OSError:
        return None
    return library if library.nvmlInit_v2() == 0 else None


def joules(uuid: str) -> float | None:
    """What the GPU with this UUID (``GPU-...``) has used; None where NVML does not tell."""
    library = _library()
    if library is None:
        return None
    handle, used = ctypes.c_void_p(), ctypes.c_ulonglong()
    if library.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(handle)):
        return None
    if library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(used)):
        return None
    return used.value / 1e3
