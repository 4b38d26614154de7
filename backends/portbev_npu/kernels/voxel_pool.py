"""``voxel_pool`` by mx_driving (DrivingSDK), Atlas A2 and A3.

``bev_pool_v3(None, feat (points,C), None, None, geom int32 (points,4), [B,Z,Y,X,C]) -> (B,C,Z,Y,X)`` adds features to
cells, geom = (row, column, z, batch), in blocks. It does not look whether a point is in the grid: those outside are
left out first. C is a multiple of 8, and int32 must number the floats of results and features.

Other numbers of channels: ``npu_voxel_pooling_train(geom_xyz int32 (B,N,3), features (B,N,C), voxel_num [x,y,z]) ->
(B,C,Y,X)``, one point at a time, with the same truncation as the operator's. Documented limits: B <= 128,
N <= 100,000, C <= 256, X and Y <= 1000, Z <= 10, B*N*C <= 1e8, B*Y*X*C <= 1e8. A larger N is not split: the sums would
be added in another order than the reference's. Read in the wheels 26.1.0 and 26.2.0; not run on a device.

The gradient is a gather and left to the reference.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.reference.voxel_pool import cell_of
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev_npu.chips import chip_lacks
from portbev_npu.kernels.limits import MX_DRIVING_CURE, first_of, float32_only, nonempty, package_has
from portbev_npu.kernels.voxel_pool_lift import channels_fit, numbered_by_int32
from portbev_npu.vendor import driving

PROVIDER = "mx_driving"
MAX_BATCH, MAX_POINTS, MAX_POINT_CHANNELS, MAX_XY, MAX_Z, MAX_ELEMENTS = 128, 100_000, 256, 1000, 10, 100_000_000


def supports(call: VoxelPoolCall) -> str | None:
    """The limits of the function that would be called."""
    limits = _block_limits(call) if in_blocks(call) else _point_limits(call)
    return first_of(limits, nonempty(features=call.features), float32_only(PROVIDER, features=call.features))


def forward(call: VoxelPoolCall) -> Tensor:
    """Sums (B,Y,X,C); see :func:`portbev.ops.voxel_pool`."""
    return _pool_in_blocks(call) if in_blocks(call) else _pool_points(call)


def in_blocks(call: VoxelPoolCall) -> bool:
    """Whether the number of channels is one of ``bev_pool_v3``."""
    return channels_fit(call.features.shape[2])


def _block_limits(call: VoxelPoolCall) -> str | None:
    (batch, _, channels), (x, y, _) = call.features.shape, call.size
    sizes = {"results": batch * y * x * channels, "features": call.features.numel()}
    return first_of(numbered_by_int32(PROVIDER, sizes), chip_lacks("bev_pool_v3"))


def _point_limits(call: VoxelPoolCall) -> str | None:
    (batch, points, channels), (x, y, z) = call.features.shape, call.size
    bounds = {
        "batch": (batch, MAX_BATCH),
        "points": (points, MAX_POINTS),
        "channels": (channels, MAX_POINT_CHANNELS),
        "cells in x": (x, MAX_XY),
        "cells in y": (y, MAX_XY),
        "cells in z": (z, MAX_Z),
        "features (batch x points x channels)": (batch * points * channels, MAX_ELEMENTS),
        "results (batch x cells x channels)": (batch * y * x * channels, MAX_ELEMENTS),
    }
    for name, (value, limit) in bounds.items():
        if value > limit:
            return f"{value:,} {name}; {PROVIDER} takes at most {limit:,} unless channels are a multiple of 8"
    return chip_lacks("npu_voxel_pooling_train")


def _pool_in_blocks(call: VoxelPoolCall) -> Tensor:
    features, voxels, size = call
    (batch, per_image, channels), (x, y, _) = features.shape, size
    points, _ = cell_of(voxels, size)
    if not len(points):  # the vendor is not asked about no points at all
        return features.new_zeros(batch, y, x, channels)
    column, row, height = voxels.reshape(-1, 3).index_select(0, points).unbind(1)
    image = points.div(per_image, rounding_mode="floor").int()
    geom = torch.stack([row, column, torch.zeros_like(height), image], dim=1)
    kept = features.reshape(-1, channels).index_select(0, points)
    pooled: Tensor = driving().bev_pool_v3(None, kept, None, None, geom, [batch, 1, y, x, channels])
    return pooled[:, :, 0].permute(0, 2, 3, 1).contiguous()


def _pool_points(call: VoxelPoolCall) -> Tensor:
    features, voxels, (x, y, z) = call
    pooled: Tensor = driving().npu_voxel_pooling_train(voxels.contiguous(), features.contiguous(), [x, y, z])
    return pooled.permute(0, 2, 3, 1).contiguous()


KERNEL = Kernel(
    operator="voxel_pool",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    supports=supports,
    priority=30,
    deterministic=False,  # nowhere documented; points are added to cells in parallel
    probe=package_has(PROVIDER, ("bev_pool_v3", "npu_voxel_pooling_train"), MX_DRIVING_CURE),
)
