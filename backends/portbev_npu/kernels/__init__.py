"""Kernels for portbev's operators, a file per operator and provider.

Those of the vendor's libraries, and ``fft`` as products of matrices: Ascend lists no complex transform, and the
reference is refused there. One that torch_npu registers all the same is checked before it is used.
"""

from __future__ import annotations

from portbev.kernels import Kernel
from portbev_npu.kernels import (
    matrix_fft,
    ms_deform_attn,
    mx_deform_conv2d,
    torch_npu_deform_conv2d,
    torch_npu_fft,
    voxel_pool,
    voxel_pool_lift,
)

KERNELS: tuple[Kernel, ...] = (
    mx_deform_conv2d.KERNEL,
    torch_npu_deform_conv2d.KERNEL,
    ms_deform_attn.KERNEL,
    voxel_pool.KERNEL,
    voxel_pool_lift.KERNEL,
    matrix_fft.KERNEL,
    torch_npu_fft.KERNEL,
)
