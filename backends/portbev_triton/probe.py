"""Whether Triton can be used in this process."""

from __future__ import annotations

import importlib.util
import os

import torch

OLDEST = (3, 2)
"""The kernels use what Triton 3.2 has."""
TRITON, ATOMIC = "triton", "triton_atomic"
BACKENDS = ("cuda", "rocm")
HALF_OR_FLOAT = (torch.float32, torch.float16, torch.bfloat16)


def probe() -> str | None:
    """None if Triton is there, new enough and has a compiler for a device that is here, else the reason with its cure.

    Triton's interpreter needs no device.
    """
    cure = "it comes with torch for ROCm" if torch.version.hip else "pip install 'triton>=3.2'"
    if importlib.util.find_spec("triton") is None:
        return f"triton is not installed: {cure}"
    import triton

    found = tuple(int(part) for part in triton.__version__.split("+")[0].split(".")[:2])
    if found < OLDEST:
        return f"triton {triton.__version__} is older than {'.'.join(map(str, OLDEST))}: {cure}"
    if os.environ.get("TRITON_INTERPRET") != "1" and not torch.cuda.is_available():
        return "torch sees no GPU"
    name = "amd" if torch.version.hip else "nvidia"
    from triton.backends import backends

    if name not in backends:
        return (
            f"triton {triton.__version__} has no compiler for {name} (it has {', '.join(backends) or 'none'}): {cure}"
        )
    return None


def unsupported_dtype(*dtypes: torch.dtype) -> str | None:
    """Why tensors of these dtypes are left to the reference; None if they are float32, float16 or bfloat16."""
    others = sorted({str(dtype).removeprefix("torch.") for dtype in dtypes if dtype not in HALF_OR_FLOAT})
    return f"{', '.join(others)}: computes float32, float16 and bfloat16" if others else None
