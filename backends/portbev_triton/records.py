"""All kernels of this package.

``triton`` gives equal bits for equal arguments. ``triton_atomic`` differs from it in backwards alone, whose sums are
added by atomics in the order in which the device comes to them; it is asked first where determinism is off.
"""

from __future__ import annotations

from portbev.kernels import Kernel
from portbev_triton import deform_attn, deform_conv2d, dropout, ms_deform_attn, voxel_pool

MODULES = (deform_attn, deform_conv2d, dropout, ms_deform_attn, voxel_pool)
"""One for each operator: ``KERNELS``, and ``variants()`` for :mod:`portbev_triton.compile`."""
KERNELS: tuple[Kernel, ...] = tuple(kernel for module in MODULES for kernel in module.KERNELS)
