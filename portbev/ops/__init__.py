"""Portable operators, one file each: its definition, the call that kernels get, its gradient and its documentation.

Each is a ``torch.library`` operator in the namespace ``portbev``. The kernels that run on every device are in
:mod:`portbev.ops.reference`; plugins offer faster ones, see :mod:`portbev.kernels`.
"""

from portbev.kernels import KERNELS
from portbev.ops.deform_attn import deform_attn, deform_attn_ragged
from portbev.ops.deform_conv2d import deform_conv2d
from portbev.ops.dropout import dropout
from portbev.ops.fft import fft
from portbev.ops.ms_deform_attn import ms_deform_attn, ms_deform_attn_ragged
from portbev.ops.reference import REFERENCES
from portbev.ops.voxel_pool import voxel_pool
from portbev.ops.voxel_pool_lift import voxel_pool_lift

for _kernel in REFERENCES:
    KERNELS.add_reference(_kernel)

__all__ = [
    "deform_attn",
    "deform_attn_ragged",
    "deform_conv2d",
    "dropout",
    "fft",
    "ms_deform_attn",
    "ms_deform_attn_ragged",
    "voxel_pool",
    "voxel_pool_lift",
]
