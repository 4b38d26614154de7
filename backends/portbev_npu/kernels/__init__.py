"""Kernels of the vendor's libraries for portbev's operators, a file per operator. May import: portbev.kernels.

``fft`` has no provider: Ascend lists no complex transform (the reference is refused there as well).
"""

from __future__ import annotations

from portbev.kernels import Kernel
from portbev_npu.kernels import mx_deform_conv2d, torch_npu_deform_conv2d, voxel_pool, voxel_pool_lift

KERNELS: tuple[Kernel, ...] = (
    mx_deform_conv2d.KERNEL,
    torch_npu_deform_conv2d.KERNEL,
    voxel_pool.KERNEL,
    voxel_pool_lift.KERNEL,
)
