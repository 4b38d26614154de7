"""``fft`` by products of real matrices: Ascend lists no complex transform.

Of complex tensors it asks for ``view_as_real`` and ``view_as_complex`` alone, which Ascend lists; everything else is
real. Not run on a device.
"""

from __future__ import annotations

from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.fft import FftCall
from portbev_npu.kernels.dft import matrix_dft, unsupported_length

PROVIDER = "matrix_dft"


def supports(call: FftCall) -> str | None:
    """Lengths whose largest prime factor still makes a matrix, and any values at all."""
    return "empty input" if 0 in call.input.shape else unsupported_length(call.input.shape[-1])


def forward(call: FftCall) -> Tensor:
    """The transform along the last axis, contiguous."""
    return matrix_dft(call.input, call.inverse, call.norm)


KERNEL = Kernel(operator="fft", provider=PROVIDER, backends=("npu",), forward=forward, supports=supports, priority=20)
