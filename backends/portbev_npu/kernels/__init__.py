"""Kernels of the vendor's libraries for portbev's operators, a file per operator. May import: portbev.kernels."""

from __future__ import annotations

from portbev.kernels import Kernel

KERNELS: tuple[Kernel, ...] = ()
