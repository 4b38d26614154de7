"""Kernels of the CPU."""

from __future__ import annotations

from portbev.kernels import Kernel
from portbev_cpu.kernels import dropout, ms_deform_attn

KERNELS: tuple[Kernel, ...] = (dropout.KERNEL, ms_deform_attn.KERNEL)
