"""Discrete Fourier transform along one axis.

The reference is :func:`torch.fft.fft` (pocketfft or MKL on the CPU, cuFFT, rocFFT). Devices without complex FFT get a
provider that writes the transform as products of real matrices.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops.precision import autocast_to_float32, dispatch

_NORMS = ("backward", "ortho", "forward")
_TURNED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


def fft(input: Tensor, *, dim: int = -1, inverse: bool = False, norm: str = "backward") -> Tensor:
    """DFT of ``input`` along ``dim``, over its whole length n: sum of x[t] * exp(-2*pi*i*f*t/n), + for the inverse.

    Args:
        input: any shape, complex64/128, or float32/64, which is taken as complex with zero imaginary part.
        norm: ``backward`` scales the inverse by 1/n, ``forward`` the forward transform, ``ortho`` both by 1/sqrt(n).

    Returns:
        complex64 or complex128, shape of ``input``; in memory ``dim`` is innermost. Accumulation in the input's
        precision; deterministic. Under autocast float16 and bfloat16 input is taken to float32 first.

    Raises:
        ValueError: a dtype, axis or norm that does not exist here, or an empty axis.
    """
    input = autocast_to_float32(input)
    if input.dtype not in (torch.float32, torch.float64, torch.complex64, torch.complex128):
        raise ValueError(f"fft: input is float32/64 or complex64/128, not {input.dtype}")
    if not -input.dim() <= dim < input.dim() or input.shape[dim] == 0:
        raise ValueError(f"fft: dim: no values along axis {dim} of shape {tuple(input.shape)}")
    if norm not in _NORMS:
        raise ValueError(f"fft: norm is one of {', '.join(_NORMS)}, not {norm!r}")
    out: Tensor = _fft(input.movedim(dim, -1), inverse, norm)
    return out.movedim(-1, dim)


@torch.library.custom_op("portbev::fft", mutates_args=())
def _fft(input: Tensor, inverse: bool, norm: str) -> Tensor:
    """Of the last axis; the result is contiguous."""
    result: Tensor = dispatch("fft", "forward", input.device.type, input, inverse, norm)
    return result


@_fft.register_fake
def _(input, inverse, norm):  # type: ignore[no-untyped-def]
    dtype = {torch.float32: torch.complex64, torch.float64: torch.complex128}.get(input.dtype, input.dtype)
    return torch.empty(input.shape, dtype=dtype, device=input.device)


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    input, ctx.inverse, ctx.norm = inputs
    ctx.real = not input.is_complex()


def _grad(ctx, grad):  # type: ignore[no-untyped-def]
    # The adjoint of a DFT is the other direction with the scale on the same side of the pair.
    back = _fft(grad, not ctx.inverse, _TURNED[ctx.norm])
    return back.real if ctx.real else back, None, None


_fft.register_autograd(_grad, setup_context=_setup)


def reference_fft(input: Tensor, inverse: bool, norm: str) -> Tensor:
    """Definition of the operator."""
    transform = torch.fft.ifft if inverse else torch.fft.fft
    # Strides choose the library's code path, and with it the last bits: the layout is made one before the transform.
    return transform(input.contiguous(), norm=norm).resolve_conj().contiguous()


KERNELS.add_reference(Kernel("fft", "reference", reference_fft, priority=0))
