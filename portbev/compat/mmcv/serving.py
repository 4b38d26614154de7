"""Who computes: the kernels of the device that a call's tensors are on, ranked at the first call.

``portbev.activate`` does the same and more (float32 precision, determinism); where it was called, its ranking stays.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import portbev.ops  # noqa: F401  (registers the operators)
from portbev.kernels import KERNELS


class _Serving:
    """For which device kernels were ranked here; one at a time, an accelerator rather than the CPU."""

    device_type = ""
    ranked: Any = None

    def serve(self, device_type: str) -> None:
        if device_type in (self.device_type, "meta") or torch.compiler.is_compiling():
            return
        active = KERNELS.ranked()
        if active and active is not self.ranked:  # ranked by portbev.activate
            return
        if device_type == "cpu" and self.device_type:
            return
        self.device_type = device_type
        self._rank(device_type)

    def _rank(self, device_type: str) -> None:
        from portbev.plugins import plugins
        from portbev.runtime import backends_here

        here = [backend for backend in backends_here().values() if backend.device_type == device_type]
        usable = [backend for backend in here if backend.probe().available]
        if not usable:  # the references serve
            return
        backend = max(usable, key=lambda backend: backend.priority)
        needed = torch.are_deterministic_algorithms_enabled()
        offered = plugins().kernels()
        ranked = KERNELS.rank(backend.name, offered, deterministic="required" if needed else "preferred")
        KERNELS.use(device_type, ranked)
        self.ranked = KERNELS.ranked()


_SERVING = _Serving()


def serve(tensor: Tensor) -> None:
    """Let the best kernels of the device of ``tensor`` serve, unless a backend was activated."""
    _SERVING.serve(tensor.device.type)
