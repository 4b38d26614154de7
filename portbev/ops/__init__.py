"""Portable operators: a definition, a schema, a reference kernel and a gradient each, one file per operator.

Each is a ``torch.library`` operator in the namespace ``portbev``; plugins offer faster kernels, see
:mod:`portbev.kernels`.
"""

from portbev.ops.deform_conv import deform_conv2d
from portbev.ops.dropout import dropout
from portbev.ops.fft import fft
from portbev.ops.ms_deform_attn import ms_deform_attn, ms_deform_attn_ragged
from portbev.ops.voxel_pool import voxel_pool, voxel_pool_lift

__all__ = [
    "deform_conv2d",
    "dropout",
    "fft",
    "ms_deform_attn",
    "ms_deform_attn_ragged",
    "voxel_pool",
    "voxel_pool_lift",
]
