"""The discrete Fourier transform as products of real matrices, for devices that have no other.

Mixed radix without twiddle factors of its own: with t = u*m + v and f = s + S*g, where S is the product of the radices
done so far and s the part of the frequency that they settled, a stage of radix r sums over u with the matrix

    M_s[g, u] = exp(-2 pi i * u * (s + S*g) / (S*r))

and hands v on to a transform of length m with S*r in the place of S. Each stage is one batched product of real matrices
[[re, -im], [im, re]], one for each s; the twiddle factors are part of them. At the end the digits of the frequency lie
in the opposite order and are turned round once.

A prime length is one product with its whole matrix. Angles are reduced as whole numbers, so that their error does
not grow with the length.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor

LARGEST_RADIX = 4096
"""The largest prime factor whose matrix (4 * 4096^2 numbers) is still made."""
_RADIX = 32
_KEPT = 8192  # matrices of longer transforms are made anew at each call
_SCALES = {"backward": (0.0, 1.0), "ortho": (0.5, 0.5), "forward": (1.0, 0.0)}  # powers of 1/n: forward, inverse


def radices(length: int) -> list[int]:
    """Factors of ``length``, largest first: few and alike, of primes gathered up to 32; larger primes stand alone."""
    primes = _primes(length)
    fewest = len(_gathered(primes, _RADIX))
    return next(found for limit in range(1, _RADIX + 1) if len(found := _gathered(primes, limit)) == fewest)


def _primes(length: int) -> list[int]:
    """Prime factors, largest first."""
    primes, rest, divisor = [], length, 2
    while divisor * divisor <= rest:
        while rest % divisor == 0:
            primes.append(divisor)
            rest //= divisor
        divisor += 1
    return [rest, *reversed(primes)] if rest > 1 else list(reversed(primes))


def _gathered(primes: list[int], limit: int) -> list[int]:
    """Products of ``primes`` up to ``limit`` each, largest first; larger primes alone."""
    stages: list[int] = []
    for prime in primes:
        fitting = next((i for i, radix in enumerate(stages) if radix * prime <= limit), None)
        if fitting is None:
            stages.append(prime)
        else:
            stages[fitting] *= prime
    return sorted(stages, reverse=True) or [1]


def matrix_dft(input: Tensor, inverse: bool, norm: str) -> Tensor:
    """What :func:`portbev.ops.fft` computes, along the last axis: no prime factor is above :data:`LARGEST_RADIX`.

    Products, copies, ``view_as_real`` and ``view_as_complex`` are all it asks of a device. Deterministic wherever the
    device's matrix product is. Its error grows with the sum of the radices instead of log2 of the length:
    docs/signal.md has figures.
    """
    length = input.shape[-1]
    planes = torch.view_as_real(input.resolve_conj()) if input.is_complex() else input[..., None]
    make = _kept_matrices if length <= _KEPT else _matrices
    stages = make(length, inverse, norm, input.is_complex(), planes.dtype, input.device)
    last = planes.movedim(-2, 0).movedim(-1, 0)  # (re and im, length, rest...)
    rest = last.shape[2:]
    done = last.reshape(1, last.shape[0] * length, -1)
    for matrix in stages:
        batch, _, columns = matrix.shape
        done = torch.bmm(matrix, done.reshape(batch, columns, -1))
    factors = radices(length)
    digits = done.view(*factors, 2, -1)  # the frequency's digits, its lowest first
    turned = digits.permute(-1, *range(len(factors) - 1, -1, -1), -2).reshape(*rest, length, 2).contiguous()
    return torch.view_as_complex(turned)


def _matrices(
    length: int, inverse: bool, norm: str, is_complex: bool, dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, ...]:
    """(S, 2*r, 2*r) for each stage; rows are (frequency digit, re or im), columns (re or im, time digit).

    The first has (1, 2*r, r) if the input is real.
    """
    settled, done = torch.zeros(1, dtype=torch.int64, device="cpu"), 1
    stages = []
    for radix in radices(length):
        digit = torch.arange(radix, device="cpu")
        frequency = settled[:, None] + done * digit  # (S, g)
        turns = (frequency[:, :, None] * digit) % (done * radix)
        angle = turns.to(torch.float64) * ((2 if inverse else -2) * math.pi / (done * radix))
        cos, sin = angle.cos(), angle.sin()
        of_re, of_im = torch.stack([cos, sin], 2), torch.stack([-sin, cos], 2)  # (S, g, re or im, u)
        real_only = done == 1 and not is_complex
        columns = of_re if real_only else torch.cat([of_re, of_im], 3)
        stages.append(columns.flatten(1, 2))
        settled, done = frequency.flatten(), done * radix
    stages[0] = stages[0] * float(length) ** -_SCALES[norm][1 if inverse else 0]
    return tuple(stage.to(dtype).to(device) for stage in stages)


_kept_matrices = lru_cache(maxsize=16)(_matrices)


def unsupported_length(length: int) -> str | None:
    """Why :func:`matrix_dft` does not transform ``length``; None if it does."""
    largest = max(_primes(length), default=1)
    return f"length {length} has the prime factor {largest}, above {LARGEST_RADIX}" if largest > LARGEST_RADIX else None
