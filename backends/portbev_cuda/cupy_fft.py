"""``fft`` by CuPy, for CUDA and ROCm alike.

Zero copy: tensors go over and come back through DLPack, on torch's current stream. torch itself calls cuFFT and rocFFT
and is asked first; this one is chosen with ``--kernel fft=cupy``, to tell a library's error from a binding's. Not run
on a device.
"""

from __future__ import annotations

import importlib.util
import sys

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.fft import FftCall

PROVIDER = "cupy"


def probe() -> str | None:
    """None if CuPy is there, built for this kind of GPU, and sees one; else the reason with its cure."""
    hip = torch.version.hip is not None
    wheel = "cupy-rocm-7-0 (or the wheel of this ROCm)" if hip else f"cupy-cuda{_cuda_major()}x"
    if "cupy" not in sys.modules and importlib.util.find_spec("cupy") is None:
        return f"cupy is not installed: pip install {wheel}"
    try:
        import cupy
    except ImportError as error:  # ROCm wheels without their libraries
        return f"import cupy failed: {error}"
    if bool(cupy.cuda.runtime.is_hip) != hip:
        kinds = ("CUDA", "ROCm") if hip else ("ROCm", "CUDA")
        return f"this cupy is built for {kinds[0]}, torch for {kinds[1]}: pip install {wheel} in its place"
    try:
        count = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # CUDARuntimeError where there is no driver
        return f"cupy sees no GPU: {error}"
    return None if count else "cupy sees no GPU"


def supports(call: FftCall) -> str | None:
    """Any values at all: CuPy plans no empty transform."""
    return "empty input" if 0 in call.input.shape else None


def forward(call: FftCall) -> Tensor:
    """The transform along the last axis, contiguous."""
    import cupy

    device = call.input.device
    with cupy.cuda.Device(device.index), cupy.cuda.ExternalStream(torch.cuda.current_stream(device).cuda_stream):
        values = cupy.from_dlpack(call.input.detach().resolve_conj().resolve_neg().contiguous())
        transform = cupy.fft.ifft if call.inverse else cupy.fft.fft
        result: Tensor = torch.from_dlpack(cupy.ascontiguousarray(transform(values, norm=call.norm)))
    return result


def _cuda_major() -> str:
    return (torch.version.cuda or "12").split(".")[0]


KERNEL = Kernel(
    operator="fft",
    provider=PROVIDER,
    backends=("cuda", "rocm"),
    forward=forward,
    supports=supports,
    priority=-1,  # behind the reference, which calls the same libraries without a detour
    deterministic=False,  # nowhere documented
    probe=probe,
)
