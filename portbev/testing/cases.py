"""Small calls of every portable operator, and how to compute their results."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from portbev import ops
from portbev.testing.base import tensor

SIZE = (7, 6, 2)


@dataclass(frozen=True)
class Case:
    """A call of an operator: its tensors, and how to call it with them."""

    name: str
    operator: str
    inputs: tuple[Tensor, ...]
    call: Callable[..., Tensor]


def cases() -> list[Case]:
    """Small calls of every operator; a third party's kernels see shapes that models use."""
    return [
        _deform("v1", 64, 1, 1, modulated=False, bias=False),
        _deform("v2 with bias", 64, 1, 1, modulated=True, bias=True),
        _deform("groups", 64, 4, 1, modulated=False, bias=False),
        _deform("deform groups", 16, 2, 2, modulated=True, bias=True),
        _attention("one level", 2, [(6, 7)], 4, 16),
        _attention("levels", 2, [(6, 7), (3, 4), (2, 2)], 3, 8),
        _attention("odd channels", 1, [(5, 4)], 2, 5),
        _ragged_attention(),
        Case("points", "voxel_pool", (tensor(1, 2, 300, 8), voxels(2, 300)), lambda f, v: ops.voxel_pool(f, v, SIZE)),
        Case(
            "frustums",
            "voxel_pool_lift",
            (tensor(2, 2, 3, 4, 5, 6).softmax(2), tensor(3, 2, 3, 16, 5, 6), voxels(2, 3, 4, 5, 6)),
            lambda d, c, v: ops.voxel_pool_lift(d, c, v, SIZE),
        ),
        Case(
            "odd channels",
            "voxel_pool_lift",
            (tensor(2, 1, 2, 4, 5, 6).softmax(2), tensor(3, 1, 2, 7, 5, 6), voxels(1, 2, 4, 5, 6)),
            lambda d, c, v: ops.voxel_pool_lift(d, c, v, SIZE),
        ),
        Case("forward", "fft", (tensor(4, 3, 24),), lambda x: _planes(ops.fft(x))),
        Case("inverse", "fft", (tensor(5, 3, 24),), lambda x: _planes(ops.fft(x, dim=0, inverse=True, norm="ortho"))),
        Case("complex, a prime length", "fft", (tensor(13, 2, 37, 2),), lambda x: _planes(ops.fft(_complex(x), dim=1))),
        Case("mask", "dropout", (tensor(6, 4, 50),), dropped),
    ]


def results(case: Case, device: torch.device, dtype: torch.dtype) -> list[Tensor]:
    """The output and the gradient of every floating-point input, on the CPU."""
    inputs = [_placed(value, device, dtype) for value in case.inputs]
    output = case.call(*inputs)
    weights = torch.linspace(-1, 1, output.numel(), dtype=torch.float64).view(output.shape).to(dtype)
    leaves = [value for value in inputs if value.requires_grad]
    gradients = torch.autograd.grad(output, leaves, weights.to(device))
    return [output.detach().cpu(), *(gradient.cpu() for gradient in gradients)]


def _placed(value: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    if not value.is_floating_point():
        return value.to(device)
    return value.to(dtype).to(device).detach().clone().requires_grad_()


def _deform(name: str, channels: int, groups: int, deform_groups: int, *, modulated: bool, bias: bool) -> Case:
    taps = deform_groups * 9
    inputs = [tensor(7, 2, channels, 5, 6), 2 * tensor(8, 2, 2 * taps, 5, 6), tensor(9, 8, channels // groups, 3, 3)]
    inputs += [tensor(10, 8)] if bias else []
    inputs += [tensor(11, 2, taps, 5, 6).sigmoid()] if modulated else []

    def call(x: Tensor, offset: Tensor, weight: Tensor, *rest: Tensor) -> Tensor:
        options: dict[str, Any] = dict(zip(["bias"] * bias + ["mask"] * modulated, rest, strict=True))
        return ops.deform_conv2d(x, offset, weight, padding=1, groups=groups, deform_groups=deform_groups, **options)

    return Case(name, "deform_conv2d", tuple(inputs), call)


def _attention(name: str, images: int, shapes: list[tuple[int, int]], points: int, channels: int) -> Case:
    pixels, samples = sum(h * w for h, w in shapes), (images, 9, 2, len(shapes), points)
    inputs = tensor(12, images, pixels, 2, channels), 0.5 + 0.4 * tensor(13, *samples, 2), tensor(14, *samples)
    return Case(name, "ms_deform_attn", inputs, lambda v, x, w: ops.ms_deform_attn(v, shapes, x, w))


def _ragged_attention() -> Case:
    shapes, counts, samples = [(5, 6), (3, 3)], [4, 0, 7], (11, 2, 2, 3)
    inputs = tensor(15, 3, 39, 2, 8), 0.5 + 0.4 * tensor(16, *samples, 2), tensor(17, *samples)
    return Case("ragged", "ms_deform_attn", inputs, lambda v, x, w: ops.ms_deform_attn_ragged(v, shapes, x, w, counts))


def voxels(*shape: int) -> Tensor:
    """Cells around the grid, some outside of it."""
    generator = torch.Generator().manual_seed(12)
    return torch.stack([torch.randint(-1, n + 1, shape, generator=generator) for n in SIZE], dim=-1).int()


def _planes(value: Tensor) -> Tensor:
    """Real and imaginary plane, so that errors and gradients are real."""
    return torch.view_as_real(value)


def _complex(planes: Tensor) -> Tensor:
    return torch.view_as_complex(planes)


def dropped(x: Tensor) -> Tensor:
    return ops.dropout(x, 0.3, training=True, seed=1, site=2, step=3)
