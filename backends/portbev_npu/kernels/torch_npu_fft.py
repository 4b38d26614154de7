"""``fft`` by torch_npu's own complex transform, where it has one (2.13 and later, with NNAL's asdsip).

Registered is no proof of running: lengths are listed somewhere, values are said to be at most 100, and a library may
be missing. So each length, direction and kind of input is checked once on the device against the host's transform,
with small and with large values, before the first call is served. Not run on a device.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.fft import FftCall
from portbev.ops.reference import fft as reference
from portbev_npu.kernels.limits import nonempty

PROVIDER = "torch_npu"
TOLERANCE = 1e-5
"""Largest error of a self-check, as a share of the largest value of its row."""
_SCALES = (1.0, 1e4)  # a radar's samples are well above 100
_OPERATOR = "aten::_fft_c2c"


def probe() -> str | None:
    """None if torch_npu registers a complex transform, else the reason. The device is not touched."""
    if torch._C._dispatch_has_kernel_for_dispatch_key(_OPERATOR, "PrivateUse1"):
        return None
    return f"this torch_npu registers no {_OPERATOR}"


def supports(call: FftCall) -> str | None:
    """None if the transform of this length, direction and kind of input is right on this device."""
    if call.input.dtype not in (torch.float32, torch.complex64):
        return f"input is {str(call.input.dtype).removeprefix('torch.')}; {PROVIDER} takes single precision only"
    empty = nonempty(input=call.input)
    return empty or self_check(call.input.shape[-1], call.inverse, call.input.is_complex(), call.input.device)


@lru_cache(maxsize=256)
def self_check(length: int, inverse: bool, is_complex: bool, device: torch.device) -> str | None:
    """None if the device's transform agrees with the host's in double precision, else the reason."""
    draws = torch.Generator().manual_seed(length)
    planes = torch.randn(len(_SCALES), length, 2, generator=draws) * torch.tensor(_SCALES)[:, None, None]
    values = torch.view_as_complex(planes) if is_complex else planes[..., 0].contiguous()
    try:
        found = reference.forward(FftCall(values.to(device), inverse, "backward")).cpu()
    except (RuntimeError, NotImplementedError) as error:
        return f"its transform of length {length} raised {type(error).__name__}: {str(error).splitlines()[0]}"
    double = values.to(torch.complex128 if is_complex else torch.float64)
    wanted = reference.forward(FftCall(double, inverse, "backward"))
    share = float(((found.to(wanted.dtype) - wanted).abs().amax(1) / wanted.abs().amax(1)).max())
    if share <= TOLERANCE:
        return None
    return f"its transform of length {length} is off by {share:.1e} of the largest value in a self-check"


def forward(call: FftCall) -> Tensor:
    """The transform along the last axis, contiguous."""
    return reference.forward(call)


KERNEL = Kernel(
    operator="fft",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    supports=supports,
    priority=30,
    deterministic=False,  # nowhere documented
    probe=probe,
)
