"""Multi-scale deformable attention in Triton: rows sorted by image, dense and ragged in one.

A program takes a few rows of one head, and of them level by level all points: a thread computes where a point lies, and
then takes 16 bytes of the channels of every corner. Locations, weights and results are read and written once, and no
sample is written. With one reading of the values that is, for the visible rows of a layer of BEVFormer-base, 381 MB in
float32, where 378 MB are compulsory (:mod:`portbev_triton.traffic`). Corners that several points share come from the
caches, for which the programs of a head, and with it an image's values of one head (4 MB), follow each other.

Backward: each row's gradients by locations and weights are its own. The gradient by value is a sum over rows that land
on a pixel in no order. ``triton_atomic`` adds float32 by atomics; ``triton`` adds whole numbers
(:mod:`portbev_triton.fixed_point`), whose sum has the same bits in any order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev_triton.fixed_point import FixedPoint, fixed_point, largest
from portbev_triton.launch import launch
from portbev_triton.probe import ATOMIC, BACKENDS, TRITON, probe, unsupported_dtype
from portbev_triton.variants import DTYPES, Variant

POINTS = 8
"""Points of a tile, at most."""


def supports(call: MsDeformAttnCall) -> str | None:
    """float32, float16 and bfloat16; rows, and elements of an image's values, are below 2**31."""
    many = max(call.locations.shape[0], call.value[:1].numel())
    if many >= 2**31:
        return f"{many} rows, or elements of an image, do not fit int32"
    return unsupported_dtype(call.value.dtype, call.locations.dtype, call.weights.dtype)


def forward(call: MsDeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    from portbev_triton.source.ms_deform_attn import ms_deform_attn_kernel

    value, locations, weights = call.value.contiguous(), call.locations.contiguous(), call.weights.contiguous()
    rows, (heads, channels) = locations.shape[0], value.shape[2:]
    ends, levels = tables(call.queries(), call.shapes, value.device)
    constants: dict[str, Any] = sizes(value, locations, ends)
    out = torch.empty(rows, heads * channels, dtype=value.dtype, device=value.device)
    launch(
        "ms_deform_attn",
        ms_deform_attn_kernel,
        lambda c: grid(rows, heads, c),
        *(value, locations, weights, ends, levels, out, rows),
        operator="ms_deform_attn",
        like=value,
        **constants,
    )
    return out


def backward(grad_out: Tensor, call: MsDeformAttnCall) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by value, locations and weights; equal bits for equal arguments."""
    heads, channels = call.value.shape[2:]
    by_row = call.weights.float().abs().sum((2, 3))  # what a row's terms add up to at most, in units of its gradient
    bound = largest(grad_out, 0).view(heads, channels) * largest(by_row, 0)[:, None]
    sums = fixed_point(call.value.shape, bound, max(call.queries(), default=0))
    grad_locations, grad_weights = _backward(grad_out, call, sums.sums, sums)
    return sums.settled().to(call.value.dtype), grad_locations, grad_weights


def backward_atomic(grad_out: Tensor, call: MsDeformAttnCall) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by value, locations and weights; the first is added up in no order."""
    sums = torch.zeros(call.value.shape, dtype=torch.float32, device=grad_out.device)
    grad_locations, grad_weights = _backward(grad_out, call, sums, None)
    return sums.to(call.value.dtype), grad_locations, grad_weights


def tables(counts: list[int], shapes: list[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """What kernels ask of images and levels: ``ends`` and ``levels``, int32 on ``device``, kept from call to call."""
    return _ends(tuple(counts), device), _levels(tuple(shapes), device)


def grid(rows: int, heads: int, constants: Mapping[str, Any]) -> tuple[int]:
    """A program for each block of rows of each head."""
    return (-(-rows // (constants["BLOCK"] // constants["BLOCK_POINTS"])) * heads,)


def sizes(value: Tensor, samples: Tensor, ends: Tensor) -> dict[str, int]:
    """Constants of the kernels; ``samples`` are (rows, M, L, P, ...)."""
    _, pixels, heads, channels = value.shape
    points = samples.shape[3]
    return constants_of(pixels, heads, channels, samples.shape[2], points, len(ends))


def constants_of(pixels: int, heads: int, channels: int, levels: int, points: int, images: int) -> dict[str, int]:
    """The same, from numbers."""
    constants = {"PIXELS": pixels, "HEADS": heads, "CHANNELS": channels, "LEVELS": levels, "POINTS": points}
    blocks = {"BLOCK_IMAGES": power_of_two(images), "BLOCK_CHANNELS": power_of_two(channels)}
    return constants | blocks | {"BLOCK_POINTS": min(POINTS, power_of_two(points))}


def power_of_two(number: int) -> int:
    """The smallest that is not less than ``number``; 1 for none."""
    return 1 << max(number - 1, 0).bit_length()


def variants() -> Iterator[Variant]:
    """BEVFormer-base's spatial attention, and the temporal one in float32."""
    from portbev_triton.source.ms_deform_attn import ms_deform_attn_backward_kernel, ms_deform_attn_kernel

    spatial = constants_of(pixels=30_825, heads=8, channels=32, levels=4, points=8, images=6)
    temporal = constants_of(pixels=40_000, heads=8, channels=32, levels=1, points=4, images=2)
    cases = [("spatial", dtype, spatial) for dtype in DTYPES] + [("temporal", "fp32", temporal)]
    for case, dtype, constants in cases:
        signature = dict.fromkeys(("value", "grad_out", "out"), f"*{dtype}")
        signature |= dict.fromkeys(("locations", "weights", "grad_locations", "grad_weights", "scale"), "*fp32")
        signature |= {"ends": "*i32", "levels": "*i32", "poisoned": "*i8", "rows": "i32", "channel_stride": "i32"}
        label = f"{case}, {dtype}"
        yield Variant("ms_deform_attn", label, ms_deform_attn_kernel, signature, constants)
        for name, fixed in (("ms_deform_attn_backward", True), ("ms_deform_attn_backward_atomic", False)):
            typed, more = {**signature, "sums": "*i64" if fixed else "*fp32"}, {**constants, "FIXED": fixed}
            yield Variant(name, label, ms_deform_attn_backward_kernel, typed, more)


def _backward(
    grad_out: Tensor, call: MsDeformAttnCall, sums: Tensor, fixed: FixedPoint | None
) -> tuple[Tensor, Tensor]:
    """Adds to ``sums``; gradients by locations and weights."""
    from portbev_triton.source.ms_deform_attn import ms_deform_attn_backward_kernel

    value, locations, weights = call.value.contiguous(), call.locations.contiguous(), call.weights.contiguous()
    rows, heads = locations.shape[0], value.shape[2]
    ends, levels = tables(call.queries(), call.shapes, value.device)
    grad_locations, grad_weights = torch.empty_like(locations), torch.empty_like(weights)
    marks, scale = (sums, sums) if fixed is None else (fixed.poisoned, fixed.scale)
    launch(
        "ms_deform_attn_backward" if fixed else "ms_deform_attn_backward_atomic",
        ms_deform_attn_backward_kernel,
        lambda c: grid(rows, heads, c),
        *(grad_out.contiguous(), value, locations, weights, ends, levels),
        *(sums, marks, scale, grad_locations, grad_weights, rows, 1),
        operator="ms_deform_attn",
        like=value,
        accumulates=(sums,) if fixed is None else (sums, fixed.poisoned),
        FIXED=fixed is not None,
        **sizes(value, locations, ends),
    )
    return grad_locations, grad_weights


@lru_cache
def _ends(counts: tuple[int, ...], device: torch.device) -> Tensor:
    """The row behind each image's last, then the largest number up to a power of two."""
    ends = torch.full((power_of_two(len(counts)),), 2**31 - 1, dtype=torch.int32)
    ends[: len(counts)] = torch.tensor(counts, dtype=torch.int64).cumsum(0)
    return ends.to(device, non_blocking=True)


@lru_cache
def _levels(shapes: tuple[int, ...], device: torch.device) -> Tensor:
    """(L, 3): height, width and first pixel of each level."""
    size = torch.tensor(shapes, dtype=torch.int32).view(-1, 2)
    pixels = size.prod(1)
    first = pixels.cumsum(0) - pixels
    return torch.cat((size, first[:, None].int()), 1).to(device, non_blocking=True)


KERNELS = (
    Kernel("ms_deform_attn", TRITON, forward, backward, backends=BACKENDS, supports=supports, priority=20, probe=probe),
    Kernel(
        "ms_deform_attn",
        ATOMIC,
        forward,
        backward_atomic,
        backends=BACKENDS,
        supports=supports,
        priority=25,
        deterministic=False,
        probe=probe,
    ),
)
