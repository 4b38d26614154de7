"""``fft`` by products of real matrices: Ascend lists no complex transform.

Of complex tensors it asks for ``view_as_real`` and ``view_as_complex`` alone, which Ascend lists; everything else is
real. Not run on a device.
"""

from __future__ import annotations

from torch import Tensor

from portbev.kernels import Kernel
from portbev_npu.kernels.dft import matrix_dft, unsupported_length

PROVIDER = "matrix_dft"


def supports(input: Tensor, inverse: bool, norm: str) -> str | None:
    """Lengths whose largest prime factor still makes a matrix, and any values at all."""
    return "empty input" if 0 in input.shape else unsupported_length(input.shape[-1])


KERNEL = Kernel(
    operator="fft", provider=PROVIDER, backends=("npu",), forward=matrix_dft, supports=supports, priority=20
)
