"""Kernels that the emulated npu has of its own.

An emulated run is compared with a run on the CPU bit for bit. Where the CPU has a kernel that adds in another order
than the reference, the emulated npu computes with that kernel too, on the host memory of its tensors, whenever no
vendor's kernel takes the call (those are passed over where determinism is required). A real npu runs the reference
there; ``--kernel ms_deform_attn=reference`` runs it here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from portbev.kernels import Kernel

if TYPE_CHECKING:
    from torch import Tensor

    from portbev.ops.ms_deform_attn import MsDeformAttnCall


def _only_emulated() -> str | None:
    """None on the emulated npu; elsewhere "", which is not worth a line in the ledger."""
    return None if "portbev_emulated.standins" in sys.modules else ""


def _forward(call: MsDeformAttnCall) -> Any:
    from portbev_cpu.kernels import ms_deform_attn as ms_deform_attn_cpu
    from portbev_emulated.standins.reference import on_host

    return on_host(ms_deform_attn_cpu.forward, call)


def _backward(grad_out: Tensor, call: MsDeformAttnCall) -> Any:
    from portbev_cpu.kernels import ms_deform_attn as ms_deform_attn_cpu
    from portbev_emulated.standins.reference import on_host

    return on_host(ms_deform_attn_cpu.backward, grad_out, call)


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        operator="ms_deform_attn",
        provider="emulated",
        backends=("npu",),
        forward=_forward,
        backward=_backward,
        priority=1,
        probe=_only_emulated,
    ),
)
