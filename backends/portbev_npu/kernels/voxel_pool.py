"""``voxel_pool`` by mx_driving (DrivingSDK), Atlas A2.

``npu_voxel_pooling_train(geom_xyz int32 (B,N,3), features (B,N,C), voxel_num [x,y,z]) -> (B,Y,X,C)``; the same
truncation as the operator's. Documented limits: B <= 128, N <= 100,000, C <= 256, X and Y <= 1000, Z <= 10,
B*N*C <= 1e8, B*Y*X*C <= 1e8. A larger N is not split: the sums would be added in another order than the reference's.
Some releases return (B,C,Y,X) against their documentation: both are told apart by shape. Not run on a device.

The gradient is a gather and left to the reference: the vendor's would run the forward over again.
"""

from __future__ import annotations

from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev_npu.kernels.limits import MX_DRIVING_CURE, float32_only, package_has

PROVIDER = "mx_driving"
MAX_BATCH, MAX_POINTS, MAX_CHANNELS, MAX_XY, MAX_Z, MAX_ELEMENTS = 128, 100_000, 256, 1000, 10, 100_000_000


def supports(call: VoxelPoolCall) -> str | None:
    """The documented limits."""
    batch, points, channels = call.features.shape
    x, y, z = call.size
    bounds = {
        "batch": (batch, MAX_BATCH),
        "points": (points, MAX_POINTS),
        "channels": (channels, MAX_CHANNELS),
        "cells in x": (x, MAX_XY),
        "cells in y": (y, MAX_XY),
        "cells in z": (z, MAX_Z),
        "features (batch x points x channels)": (batch * points * channels, MAX_ELEMENTS),
        "results (batch x cells x channels)": (batch * y * x * channels, MAX_ELEMENTS),
    }
    for name, (value, limit) in bounds.items():
        if value > limit:
            return f"{value:,} {name}; {PROVIDER} takes at most {limit:,}"
    if 0 in call.features.shape:
        return "empty input"
    if x == y == channels:
        return f"{x} cells and channels alike: the layout of the result could not be told from its shape"
    return float32_only(PROVIDER, features=call.features)


def forward(call: VoxelPoolCall) -> Tensor:
    """Sums (B,Y,X,C); see :func:`portbev.ops.voxel_pool`."""
    import mx_driving

    features, voxels, (x, y, z) = call
    pooled: Tensor = mx_driving.npu_voxel_pooling_train(voxels.contiguous(), features.contiguous(), [x, y, z])
    channels_last = (features.shape[0], y, x, features.shape[2])
    return pooled if tuple(pooled.shape) == channels_last else pooled.permute(0, 2, 3, 1).contiguous()


KERNEL = Kernel(
    operator="voxel_pool",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    supports=supports,
    priority=30,
    deterministic=False,  # nowhere documented; points are added to cells in parallel
    probe=package_has(PROVIDER, ("npu_voxel_pooling_train",), MX_DRIVING_CURE),
)
