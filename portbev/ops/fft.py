"""Discrete Fourier transform along one axis.

The reference kernel is :func:`torch.fft.fft` (pocketfft or MKL on the CPU, cuFFT, rocFFT). Devices without complex
transforms get a provider that writes the transform as products of real matrices.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from portbev.ops.checks import need
from portbev.ops.operator import Formula, Operator
from portbev.ops.precision import autocast_to_float32

COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
"""The dtype of the result for real input."""
_SCALED = {"backward": (0.0, 1.0), "ortho": (0.5, 0.5), "forward": (1.0, 0.0)}  # powers of 1/n: forward, inverse
_TURNED = {"backward": "forward", "ortho": "ortho", "forward": "backward"}


class FftCall(NamedTuple):
    """The arguments of a call, as kernels get them: of the last axis."""

    input: Tensor  # any shape, float32/64 or complex64/128
    inverse: bool
    norm: str  # backward, ortho or forward


def definition(call: FftCall) -> Tensor:
    """out[f] is the sum over t of input[t] * exp(-2 pi i f t / n), scaled; with + for the inverse."""
    input, inverse, norm = call
    n = input.shape[-1]
    t = torch.arange(n, device=input.device)
    angle = (2 if inverse else -2) * math.pi / n * (t[:, None] * t % n).to(input.real.dtype)
    scale = torch.full_like(angle, n ** -_SCALED[norm][inverse])
    return input.to(COMPLEX.get(input.dtype, input.dtype)) @ torch.polar(scale, angle)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    call = FftCall(*inputs)
    ctx.inverse, ctx.norm, ctx.real = call.inverse, call.norm, not call.input.is_complex()


def _gradient(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
    """The adjoint of a DFT is the other direction, with the scale on the same side of the pair."""
    found: Tensor = FFT(FftCall(grad, not ctx.inverse, _TURNED[ctx.norm]))
    return found.real if ctx.real else found, None, None


FFT = Operator(
    "fft",
    FftCall,
    definition=definition,
    fake=lambda call: torch.empty(
        call.input.shape, dtype=COMPLEX.get(call.input.dtype, call.input.dtype), device=call.input.device
    ),
    gradient=Formula(_keep, _gradient),
)


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
    known = (*COMPLEX.keys(), *COMPLEX.values())
    need("fft", input.dtype in known, f"input is float32/64 or complex64/128, not {input.dtype}")
    exists = -input.dim() <= dim < input.dim() and input.shape[dim] > 0
    need("fft", exists, f"dim: no values along axis {dim} of shape {tuple(input.shape)}")
    need("fft", norm in _SCALED, f"norm is one of {', '.join(_SCALED)}, not {norm!r}")
    out: Tensor = FFT(FftCall(input.movedim(dim, -1), inverse, norm))
    return out.movedim(-1, dim)
