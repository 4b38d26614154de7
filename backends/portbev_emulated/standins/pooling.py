"""Stand-in for the pooling functions of ``mx_driving``, as its wheels 26.1.0 and 26.2.0 have them for Atlas A2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from portbev.ops.reference.voxel_pool_lift import pool_by_ranks, pool_by_ranks_backward
from portbev.ops.voxel_pool import VOXEL_POOL, VoxelPoolCall
from portbev_emulated.standins import reference
from portbev_emulated.standins.checks import integers, require, tensor

FLOAT, INT = torch.float32, torch.int32


class _VoxelPooling(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, geom_xyz: Tensor, features: Tensor, voxel_num: list[int]) -> Any:
        ctx.save_for_backward(geom_xyz)
        ctx.size = voxel_num
        pooled: Tensor = reference.forward("voxel_pool", VoxelPoolCall(features, geom_xyz, voxel_num))
        return pooled.permute(0, 3, 1, 2)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        (geom_xyz,) = ctx.saved_tensors
        rows = grad.permute(0, 2, 3, 1).contiguous()
        return None, reference.backward("voxel_pool", rows, VOXEL_POOL.backward_call(rows, geom_xyz, ctx.size)), None


class _BevPool(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, depth: Tensor | None, feat: Tensor, ranks: tuple[Any, Any, Tensor], shape: list[int]) -> Any:
        ctx.given, ctx.shape = (depth, feat, *ranks), shape
        rows, weights, places = _flat(depth, feat, *ranks)
        pooled = reference.on_host(pool_by_ranks, weights, rows, *places, torch.Size(shape[:4]).numel())
        return pooled.view(shape).permute(0, 4, 1, 2, 3).contiguous()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        grads = npu_bev_pool_v3_backward(grad.permute(0, 2, 3, 4, 1).contiguous(), *ctx.given)
        return *grads, None, None


def npu_voxel_pooling_train(geom_xyz: Tensor, features: Tensor, voxel_num: list[int], /) -> Any:
    """geom_xyz int32 (B,N,3), features (B,N,C), voxel_num [x,y,z] -> (B,C,Y,X), a view of channels last."""
    name = "npu_voxel_pooling_train"
    tensor(name, "features", features, FLOAT, (None, None, None))
    batch, points, channels = features.shape
    tensor(name, "geom_xyz", geom_xyz, INT, (batch, points, 3))
    x, y, z = integers(name, "voxel_num", voxel_num, 3, 1)
    require(points > 0, name, "Number of points can not be zero")
    require(batch <= 128, name, f"B must be at most 128, is {batch}")
    require(points <= 100_000, name, f"N must be at most 100000, is {points}")
    require(channels <= 256, name, f"C must be at most 256, is {channels}")
    require(x <= 1000 and y <= 1000 and z <= 10, name, f"voxel_num must be at most [1000, 1000, 10], is {[x, y, z]}")
    require(batch * points * channels <= 100_000_000, name, "B * N * C must be at most 1e8")
    require(batch * y * x * channels <= 100_000_000, name, "B * Y * X * C must be at most 1e8")
    return _VoxelPooling.apply(geom_xyz, features, [x, y, z])


def bev_pool_v3(
    depth: Tensor | None,
    feat: Tensor,
    ranks_depth: Tensor | None,
    ranks_feat: Tensor | None,
    ranks_bev: Tensor,
    bev_feat_shape: list[int],
) -> Any:
    """depth (B,N,D,H,W), feat (B,N,H,W,C) float32, ranks int32 (points,), [B,Z,Y,X,C] -> (B,C,Z,Y,X).

    Without depth: feat (points,C), ranks_bev (points,4) = (row, column, z, batch), the other ranks None.
    """
    name = "bev_pool_v3"
    shape = integers(name, "bev_feat_shape", bev_feat_shape, 5, 1)
    batch, z, y, x, channels = shape
    if depth is None:
        require(ranks_depth is None and ranks_feat is None, name, "ranks of depth and feat must be None without depth")
        tensor(name, "feat", feat, FLOAT, (None, channels))
        tensor(name, "ranks_bev", ranks_bev, INT, (len(feat), 4))
        sizes = torch.tensor([y, x, z, batch], dtype=INT, device=ranks_bev.device)
        inside = bool(((ranks_bev >= 0) & (ranks_bev < sizes)).all())
        require(inside, name, f"ranks_bev must be in {[y, x, z, batch]}: nothing is checked on the device")
        row, column, height, image = ranks_bev.unbind(1)
        ranks_bev = ((image * z + height) * y + row) * x + column
    _check_ranks(name, depth, feat, ranks_depth, ranks_feat, ranks_bev, shape)
    require(channels % 8 == 0 and channels <= 360, name, f"C must be a multiple of 8 up to 360, is {channels}")
    require(torch.Size(shape).numel() < 2**31, name, "B * Z * Y * X * C must be less than 2^31: ranks are int32")
    return _BevPool.apply(depth, feat, (ranks_depth, ranks_feat, ranks_bev), shape)


def npu_bev_pool_v3_backward(
    grad_out: Tensor,
    depth: Tensor | None,
    feat: Tensor,
    ranks_depth: Tensor | None,
    ranks_feat: Tensor | None,
    ranks_bev: Tensor,
    /,
) -> tuple[Tensor | None, Tensor]:
    """Gradients of depth and feat; grad_out (B,Z,Y,X,C). Needs no result of the forward."""
    name = "npu_bev_pool_v3_backward"
    tensor(name, "grad_out", grad_out, FLOAT, (None,) * 5)
    require(grad_out.is_contiguous(), name, "grad_out must be contiguous")
    _check_ranks(name, depth, feat, ranks_depth, ranks_feat, ranks_bev, list(grad_out.shape))
    rows, weights, places = _flat(depth, feat, ranks_depth, ranks_feat, ranks_bev)
    channels = feat.shape[-1]
    found = reference.on_host(pool_by_ranks_backward, grad_out.reshape(-1, channels), weights, rows, *places)
    return None if depth is None else found[0].view(depth.shape), found[1].view(feat.shape)


def _flat(
    depth: Tensor | None, feat: Tensor, ranks_depth: Tensor | None, ranks_feat: Tensor | None, ranks_bev: Tensor
) -> tuple[Tensor, Tensor, Sequence[Tensor]]:
    """Rows of feat, weights and the three ranks (int64): without depth every row counts once."""
    rows = feat.reshape(-1, feat.shape[-1])
    if depth is None or ranks_depth is None or ranks_feat is None:
        each = torch.arange(len(rows), device=rows.device)
        return rows, torch.ones(len(rows), device=rows.device), (each, each, ranks_bev.long())
    return rows, depth.reshape(-1), (ranks_depth.long(), ranks_feat.long(), ranks_bev.long())


def _check_ranks(
    name: str,
    depth: Tensor | None,
    feat: Tensor,
    ranks_depth: Tensor | None,
    ranks_feat: Tensor | None,
    ranks_bev: Tensor,
    shape: Sequence[int],
) -> None:
    """Layouts of tensors and bounds of ranks, which the device does not look at."""
    channels, limits = shape[4], {"ranks_bev": (ranks_bev, torch.Size(shape[:4]).numel())}
    require(feat.numel() < 2**31, name, "feat must have fewer than 2^31 floats: ranks are int32")
    if depth is not None:
        tensor(name, "depth", depth, FLOAT, (None,) * 5)
        batch, cameras, _, height, width = depth.shape
        tensor(name, "feat", feat, FLOAT, (batch, cameras, height, width, None))
        fits = shape[0] == batch and channels == feat.shape[-1]
        require(fits, name, f"bev_feat_shape must be [{batch}, Z, Y, X, {feat.shape[-1]}], is {shape}")
        require(ranks_depth is not None and ranks_feat is not None, name, "ranks of depth and feat must be tensors")
        assert ranks_depth is not None and ranks_feat is not None
        limits.update(
            ranks_depth=(ranks_depth, depth.numel()),
            ranks_feat=(ranks_feat, feat.numel() // channels),
        )
    for label, (ranks, limit) in limits.items():
        tensor(name, label, ranks, INT, (len(ranks_bev),))
        require(len(ranks) > 0, name, f"{label} must not be empty")
        require(bool(((ranks >= 0) & (ranks < limit)).all()), name, f"{label} must be in [0, {limit})")


FUNCTIONS: dict[str, object] = {"bev_pool_v3": bev_pool_v3, "npu_voxel_pooling_train": npu_voxel_pooling_train}
PRIVATE: dict[str, object] = {"npu_bev_pool_v3_backward": npu_bev_pool_v3_backward}
