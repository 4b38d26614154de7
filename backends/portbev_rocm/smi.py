"""The energy counter of a GPU, asked of AMD's management library.

amdsmi API: amdsmi_init, amdsmi_get_processor_handles, amdsmi_get_energy_count (a count and its resolution in
microjoules). Handles are in the order of the GPUs of the machine; with ``HIP_VISIBLE_DEVICES`` set, torch's numbers are
others, and the counter is not asked.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from functools import lru_cache
from typing import Any

_RENUMBERED = ("HIP_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES")


@lru_cache(maxsize=1)
def _library() -> Any:
    """amdsmi, initialised; None where it is missing or has no driver."""
    with contextlib.suppress(Exception):  # it raises its own errors, and those of its library's loading
        library = importlib.import_module("amdsmi")
        library.amdsmi_init()
        return library
    return None


def joules(index: int) -> float | None:
    """What the GPU has used; None where amdsmi does not tell."""
    library = _library()
    if library is None or any(os.environ.get(name) for name in _RENUMBERED):
        return None
    with contextlib.suppress(Exception):
        count = library.amdsmi_get_energy_count(library.amdsmi_get_processor_handles()[index])
        used = count.get("energy_accumulator", count.get("power"))
        return None if used is None else float(used) * float(count["counter_resolution"]) * 1e-6
    return None
