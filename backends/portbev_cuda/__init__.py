"""NVIDIA CUDA as a portbev plugin. May import: portbev."""

from __future__ import annotations

from portbev.backend import Backend
from portbev.hookspecs import hookimpl


@hookimpl
def portbev_backends() -> list[Backend]:
    """The backend ``cuda``."""
    from portbev_cuda.backend import CudaBackend

    return [CudaBackend()]
