"""Reference kernel of the discrete Fourier transform: torch's own."""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import REFERENCE, Kernel
from portbev.ops.fft import FftCall


def forward(call: FftCall) -> Tensor:
    """The transform along the last axis, contiguous."""
    transform = torch.fft.ifft if call.inverse else torch.fft.fft
    # Strides choose the library's code path, and with it the last bits: the layout is made one before the transform.
    return transform(call.input.contiguous(), norm=call.norm).resolve_conj().contiguous()


KERNEL = Kernel("fft", REFERENCE, forward, priority=0)
