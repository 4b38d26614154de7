"""Small calls of every portable operator, and how to compute their results and gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.dropout import DropoutCall
from portbev.ops.fft import FftCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall

SIZE = (7, 6, 2)
_DOUBLE = {torch.float32: torch.float64, torch.complex64: torch.complex128}


@dataclass(frozen=True)
class Case:
    """A call of an operator, in float32 on the host."""

    name: str
    operator: str
    call: Any


def cases() -> list[Case]:
    """Small calls of every operator; a third party's kernels see shapes that models use."""
    return [
        _deform("v1", 64, 1, 1, modulated=False, bias=False),
        _deform("v2 with bias", 64, 1, 1, modulated=True, bias=True),
        _deform("groups", 64, 4, 1, modulated=False, bias=False),
        _deform("deform groups", 16, 2, 2, modulated=True, bias=True),
        _predicted("queries", [9, 9], [(6, 7), (3, 4), (2, 2)], 3, 8),
        _predicted("pairs with anchors", [4, 0, 7], [(5, 6), (3, 3)], 4, 8, anchors=2, queries=6),
        _predicted("a softmax per level", [9, 9], [(6, 7), (6, 7)], 4, 16, per_level=True),
        _attention("one level", [9, 9], [(6, 7)], 4, 16),
        _attention("levels", [9, 9], [(6, 7), (3, 4), (2, 2)], 3, 8),
        _attention("odd channels", [9], [(5, 4)], 2, 5),
        _attention("ragged", [4, 0, 7], [(5, 6), (3, 3)], 3, 8),
        Case("points", "voxel_pool", VoxelPoolCall(tensor(1, 2, 300, 8), voxels(2, 300), list(SIZE))),
        _frustums("frustums", 3, 16),
        _frustums("odd channels", 2, 7),
        Case("forward", "fft", FftCall(tensor(4, 3, 24), False, "backward")),
        Case("inverse", "fft", FftCall(tensor(5, 3, 24).t(), True, "ortho")),
        Case("complex, a prime length", "fft", FftCall(torch.view_as_complex(tensor(13, 3, 37, 2)), False, "forward")),
        Case("mask", "dropout", DropoutCall(tensor(6, 4, 50), 0.3, 1, 2, 3)),
    ]


def tensor(seed: int, *shape: int) -> Tensor:
    """Normal float32 numbers on the CPU, the same for every device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def in_float64(call: Any) -> Any:
    """``call`` with its tensors in twice the precision."""
    return _with_tensors(call, lambda value: value.to(_DOUBLE.get(value.dtype, value.dtype)))


def on_device(call: Any, device: torch.device) -> Any:
    """``call`` with its tensors on ``device``."""
    return _with_tensors(call, lambda value: value.to(device))


def results(compute: Callable[[Any], Any], call: Any) -> list[Tensor]:
    """The first output of ``compute(call)`` and its gradients by every float tensor of the call, on the host.

    Complex ones are pairs of real numbers.
    """
    leaves = {
        name: value.detach().clone().requires_grad_()
        for name, value in call._asdict().items()
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    }
    output = compute(call._replace(**leaves))
    output = _planes(output[0] if isinstance(output, tuple) else output)
    weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape).to(output.dtype)
    gradients = torch.autograd.grad(output, list(leaves.values()), weights.to(output.device))
    return [output.detach().cpu(), *(_planes(gradient).cpu() for gradient in gradients)]


def _with_tensors(call: Any, change: Callable[[Tensor], Tensor]) -> Any:
    return type(call)(*(change(value) if isinstance(value, Tensor) else value for value in call))


def _planes(value: Tensor) -> Tensor:
    return torch.view_as_real(value) if value.is_complex() else value


def _deform(name: str, channels: int, groups: int, deform_groups: int, *, modulated: bool, bias: bool) -> Case:
    taps = deform_groups * 9
    call = DeformConv2dCall(
        input=tensor(7, 2, channels, 5, 6),
        offset=2 * tensor(8, 2, 2 * taps, 5, 6),
        weight=tensor(9, 8, channels // groups, 3, 3),
        mask=tensor(11, 2, taps, 5, 6).sigmoid() if modulated else None,
        bias=tensor(10, 8) if bias else None,
        stride=[1, 1],
        padding=[1, 1],
        dilation=[1, 1],
        groups=groups,
        deform_groups=deform_groups,
    )
    return Case(name, "deform_conv2d", call)


def _attention(name: str, counts: list[int], levels: list[tuple[int, int]], points: int, channels: int) -> Case:
    pixels, samples = sum(h * w for h, w in levels), (sum(counts), 2, len(levels), points)
    call = MsDeformAttnCall(
        value=tensor(12, len(counts), pixels, 2, channels),
        locations=0.5 + 0.4 * tensor(13, *samples, 2),
        weights=tensor(14, *samples),
        counts=torch.tensor(counts),
        shapes=[size for level in levels for size in level],
    )
    return Case(name, "ms_deform_attn", call)


def _predicted(
    name: str,
    counts: list[int],
    levels: list[tuple[int, int]],
    points: int,
    channels: int,
    *,
    anchors: int = 1,
    queries: int | None = None,
    per_level: bool = False,
) -> Case:
    """With ``queries``, so many are looked up by a query number for each row."""
    pixels, rows = sum(h * w for h, w in levels), sum(counts)
    samples = (rows if queries is None else queries, 2, len(levels), points)
    call = DeformAttnCall(
        value=tensor(12, len(counts), pixels, 2, channels),
        offsets=1.5 * tensor(15, *samples, 2),
        logits=tensor(14, *samples),
        reference=0.5 + 0.3 * tensor(16, rows, len(levels) if per_level else 1, anchors, 2),
        query=None if queries is None else torch.arange(rows) * 5 % queries,
        counts=torch.tensor(counts),
        shapes=[size for level in levels for size in level],
        per_level=per_level,
        reference_gradient=True,
    )
    return Case(name, "deform_attn", call)


def _frustums(name: str, cameras: int, channels: int) -> Case:
    depth = tensor(2, 1, cameras, 4, 5, 6).softmax(2)
    call = VoxelPoolLiftCall(depth, tensor(3, 1, cameras, channels, 5, 6), voxels(1, cameras, 4, 5, 6), list(SIZE))
    return Case(name, "voxel_pool_lift", call)


def voxels(*shape: int) -> Tensor:
    """Cells around the grid, some outside of it."""
    generator = torch.Generator().manual_seed(12)
    return torch.stack([torch.randint(-1, n + 1, shape, generator=generator) for n in SIZE], dim=-1).int()
