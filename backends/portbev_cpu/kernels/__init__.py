"""Kernels of the CPU."""

from __future__ import annotations

from portbev.kernels import Kernel
from portbev_cpu.kernels import deform_attn, dropout, ms_deform_attn

KERNELS: tuple[Kernel, ...] = (deform_attn.KERNEL, dropout.KERNEL, ms_deform_attn.KERNEL)
