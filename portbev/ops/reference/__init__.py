"""Reference kernels: one for each operator, in plain torch, that runs on every device.

Each computes what the operator's definition says, in a fixed order of additions and in blocks that stay in the cache.
It is a kernel among others, and the last that is asked.
"""

from __future__ import annotations

from portbev.kernels import Kernel
from portbev.ops.reference import deform_attn, deform_conv2d, dropout, fft, ms_deform_attn, voxel_pool, voxel_pool_lift

REFERENCES: tuple[Kernel, ...] = (
    deform_attn.KERNEL,
    deform_conv2d.KERNEL,
    dropout.KERNEL,
    fft.KERNEL,
    ms_deform_attn.KERNEL,
    voxel_pool.KERNEL,
    voxel_pool_lift.KERNEL,
)
