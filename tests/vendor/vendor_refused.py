"""For each check that a forward of mx_driving makes, a call that it refuses; the stand-ins must refuse it too."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _some(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.zeros(shape, dtype=dtype).to("npu")


def _deform(function: Callable[..., Any], channels: int, kernel: int) -> object:
    taps = kernel * kernel
    return function(
        _some(1, channels, 4, 4),
        _some(1, 2 * taps, 4, 4),
        _some(1, taps, 4, 4),
        _some(64, channels, kernel, kernel),
        padding=kernel // 2,
    )


def _attend_to_nothing(function: Callable[..., Any]) -> object:
    maps = torch.tensor([[0, 0]], dtype=torch.int32).to("npu"), torch.tensor([0], dtype=torch.int32).to("npu")
    return function(_some(1, 0, 1, 8), *maps, _some(1, 2, 1, 1, 1, 2), _some(1, 2, 1, 1, 1))


def _pool_nothing(function: Callable[..., Any]) -> object:
    return function(_some(1, 0, 3, dtype=torch.int32), _some(1, 0, 8), [2, 2, 1])


def _pool_without_depth_by_ranks(function: Callable[..., Any]) -> object:
    return function(None, _some(3, 8), None, None, _some(3, dtype=torch.int32), [1, 1, 2, 2, 8])


REFUSED: dict[tuple[str, str], Callable[[Callable[..., Any]], object]] = {
    ("modulated_deform_conv2d", "(weight.size(2) != 3) | (weight.size(3) != 3) -> ValueError"): (
        lambda function: _deform(function, channels=64, kernel=5)
    ),
    ("modulated_deform_conv2d", "(x.size(1) % 64 != 0) | (weight.size(0) % 64 != 0) -> ValueError"): (
        lambda function: _deform(function, channels=32, kernel=3)
    ),
    (
        "multi_scale_deformable_attn",
        "torch.numel(value) == 0 or torch.numel(value_spatial_shapes) == 0 or torch.numel(attention_weights) == 0"
        " -> Exception",
    ): _attend_to_nothing,
    ("npu_voxel_pooling_train", "num_points == 0 -> Exception"): _pool_nothing,
    ("bev_pool_v3", "ranks_bev.dim() != 2 -> ValueError"): _pool_without_depth_by_ranks,
}
