"""Voxel pooling in Triton, of features and of lifted contexts, without atomics.

Forward: the points are sorted by cell (:mod:`portbev_triton.intervals`), a program adds a segment of a cell's points in
order, and cells with several segments add theirs in order. Lifting multiplies on the way: features of points are never
written. It reads every row of features once, or of every point its index, its depth and the context of its pixel, which
comes from the cache (BEVDepth's contexts are 1.4 MB in float32), and writes the grid once.

Backward: every point reads the gradient of its cell. Nothing is sorted, and the sum over a pixel's depth bins stays in
registers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev_triton.intervals import SEGMENT, intervals_of
from portbev_triton.launch import launch
from portbev_triton.probe import BACKENDS, TRITON, probe, unsupported_dtype
from portbev_triton.variants import DTYPES, Variant

CHANNELS = 128
"""Channels of a program, at most."""
LIFT_CHANNELS = 512
"""A pixel's gradient by its depths is a sum over all of its channels, which one program takes."""


def supports(call: VoxelPoolCall) -> str | None:
    """float32, float16 and bfloat16; numbers of cells and points below 2**31."""
    return unsupported_dtype(call.features.dtype) or _too_many(call.voxels, call.size)


def supports_lift(call: VoxelPoolLiftCall) -> str | None:
    """As :func:`supports`."""
    return unsupported_dtype(call.depth.dtype) or _too_many(call.voxels, call.size)


def supports_lift_backward(grad_out: Tensor, call: VoxelPoolLiftCall) -> str | None:
    """As :func:`supports_lift`, and at most 512 channels."""
    channels = call.context.shape[2]
    many = f"{channels} channels, at most {LIFT_CHANNELS} fit into a program" if channels > LIFT_CHANNELS else None
    return supports_lift(call) or many


def forward(call: VoxelPoolCall) -> Tensor:
    """Sums (B, Y, X, C); see :func:`portbev.ops.voxel_pool`."""
    features, voxels, size = call
    return _pool(features.contiguous(), None, voxels, size, features.dtype, "voxel_pool", bins=1, pixels=1)


def lift_forward(call: VoxelPoolLiftCall) -> Tensor:
    """Sums (B, Y, X, C); see :func:`portbev.ops.voxel_pool_lift`."""
    depth, context, voxels, size = call
    D, H, W = depth.shape[2:]
    rows = context.movedim(2, -1).contiguous()  # the channels of a pixel side by side
    return _pool(rows, depth.contiguous(), voxels, size, depth.dtype, "voxel_pool_lift", bins=D, pixels=H * W)


def backward(grad_out: Tensor, call: VoxelPoolCall) -> Tensor:
    """Each point inside takes the gradient of its cell; the others zero."""
    from portbev_triton.source.voxel_pool import pool_backward_kernel

    (B, P, C), (X, Y, Z) = call.features.shape, call.size
    out = torch.empty(B, P, C, dtype=call.features.dtype, device=grad_out.device)
    block = _channels(C)

    def grid(c: Any) -> tuple[int, ...]:
        return -(-B * P // c["BLOCK_P"]), -(-C // block)

    arguments = (grad_out.contiguous(), call.voxels.contiguous(), out, B * P, max(1, P))
    constants: dict[str, Any] = {"C": C, "X": X, "Y": Y, "Z": Z, "BLOCK_C": block}
    launch(
        "voxel_pool_backward",
        pool_backward_kernel,
        grid,
        *arguments,
        operator="voxel_pool",
        like=grad_out,
        **constants,
    )
    return out


def lift_backward(grad_out: Tensor, call: VoxelPoolLiftCall) -> tuple[Tensor, Tensor]:
    """Gradients by depth and context."""
    from portbev_triton.source.voxel_pool import lift_backward_kernel

    depth, context, voxels = call.depth.contiguous(), call.context.contiguous(), call.voxels.contiguous()
    (B, N, D, H, W), C, (X, Y, Z) = depth.shape, context.shape[2], call.size
    grad_depth, grad_context = torch.empty_like(depth), torch.empty_like(context)

    def grid(c: Any) -> tuple[int, ...]:
        return (B * N * -(-H * W // c["BLOCK_P"]),)

    arguments = (grad_out.contiguous(), depth, context, voxels, grad_depth, grad_context, max(1, N))
    constants: dict[str, Any] = {"C": C, "BINS": D, "PIXELS": H * W, "X": X, "Y": Y, "Z": Z, "BLOCK_C": _power(C)}
    launch(
        "voxel_pool_lift_backward",
        lift_backward_kernel,
        grid,
        *arguments,
        operator="voxel_pool_lift",
        like=grad_out,
        **constants,
    )
    return grad_depth, grad_context


def variants() -> Iterator[Variant]:
    """BEVDepth's pooling: 80 channels, 112 depth bins of 16 x 44 pixels, 128 x 128 cells."""
    from portbev_triton.source import voxel_pool as source

    ints = {"order": "*i32", "starts": "*i32", "segments": "*i32", "cell_of": "*i32", "voxels": "*i32"}
    ints |= {"cells": "i32", "points": "i32", "each": "i32"}
    grid, lifted = {"C": 80, "X": 128, "Y": 128, "Z": 1}, {"BINS": 112, "PIXELS": 704}
    for dtype in DTYPES:
        floats = dict.fromkeys(("rows", "depth", "out", "grad_out", "grad_rows", "context"), f"*{dtype}")
        floats |= {"grad_depth": f"*{dtype}", "grad_context": f"*{dtype}", "partial": "*fp32"}
        signature = {**ints, **floats}
        pooled = {"C": 80, "SEGMENT": SEGMENT, "BLOCK_C": 128}
        plain, lift = {"LIFT": False, "BINS": 1, "PIXELS": 1}, {"LIFT": True, **lifted}
        yield Variant("voxel_pool", dtype, source.pool_segments_kernel, signature, {**pooled, **plain})
        yield Variant("voxel_pool", f"{dtype}, lift", source.pool_segments_kernel, signature, {**pooled, **lift})
        yield Variant("voxel_pool_add", dtype, source.add_segments_kernel, signature, {"C": 80, "BLOCK_C": 128})
        back = {**grid, "BLOCK_C": 128}
        yield Variant("voxel_pool_backward", dtype, source.pool_backward_kernel, signature, back)
        yield Variant("voxel_pool_lift_backward", dtype, source.lift_backward_kernel, signature, {**back, **lifted})


def _pool(
    rows: Tensor,
    depth: Tensor | None,
    voxels: Tensor,
    size: list[int],
    dtype: torch.dtype,
    operator: str,
    *,
    bins: int,
    pixels: int,
) -> Tensor:
    """Sums of ``rows`` (..., C), times ``depth`` if there is one, in the cells (B, Y, X) of their points."""
    from portbev_triton.source.voxel_pool import add_segments_kernel, pool_segments_kernel

    (B, C), (X, Y, _) = (voxels.shape[0], rows.shape[-1]), size
    out = torch.empty(B, Y, X, C, dtype=dtype, device=rows.device)
    if out.numel() == 0:
        return out
    found, cells, block = intervals_of(voxels, size), B * Y * X, _channels(C)
    partial = torch.empty(len(found.cell_of), C, dtype=torch.float32, device=rows.device)
    columns = -(-C // block)
    arguments = (found.order, found.starts, found.segments, found.cell_of, out, partial, cells)
    launch(
        "voxel_pool",
        pool_segments_kernel,
        lambda _: (len(found.cell_of), columns),
        *(rows, rows if depth is None else depth, *arguments),
        operator=operator,
        like=rows,
        C=C,
        LIFT=depth is not None,
        BINS=bins,
        PIXELS=pixels,
        SEGMENT=SEGMENT,
        BLOCK_C=block,
    )
    launch(
        "voxel_pool_add",
        add_segments_kernel,
        lambda _: (cells, columns),
        *(partial, found.segments, out),
        operator=operator,
        like=rows,
        C=C,
        BLOCK_C=block,
    )
    return out


def _too_many(voxels: Tensor, size: list[int]) -> str | None:
    cells, points = voxels.shape[0] * size[0] * size[1], voxels.numel() // 3
    return f"{max(cells, points)} cells or points do not fit int32" if max(cells, points) >= 2**31 else None


def _power(number: int) -> int:
    """The least power of two that is not smaller, and 1."""
    return 1 << max(0, number - 1).bit_length()


def _channels(channels: int) -> int:
    return min(CHANNELS, _power(channels))


KERNELS = (
    Kernel("voxel_pool", TRITON, forward, backward, backends=BACKENDS, supports=supports, priority=20, probe=probe),
    Kernel(
        "voxel_pool_lift",
        TRITON,
        lift_forward,
        lift_backward,
        backends=BACKENDS,
        supports=supports_lift,
        supports_backward=supports_lift_backward,
        priority=20,
        probe=probe,
    ),
)
