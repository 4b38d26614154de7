"""Kernels that the emulated npu has of its own.

An emulated run is compared with a run on the CPU bit for bit. Where the CPU has a kernel that adds in another order
than the reference, the emulated npu computes with that kernel too, on the host memory of its tensors, whenever no
vendor's kernel takes the call (those are passed over where determinism is required). A real npu runs the reference
there; ``--kernel ms_deform_attn=reference`` runs it here. Of ``deform_attn`` only the softmax is the CPU's: the rest
runs on the device, and its sampling is dispatched there, to the vendor's kernel or to one of these.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from portbev.kernels import Kernel

if TYPE_CHECKING:
    from torch import Tensor

    from portbev.ops.deform_attn import DeformAttnCall
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


def _attention_weights(call: DeformAttnCall) -> Any:
    from portbev_cpu.kernels import deform_attn as deform_attn_cpu
    from portbev_emulated.standins.reference import on_host

    return on_host(deform_attn_cpu.weights, call)


def _attend(call: DeformAttnCall) -> Any:
    from portbev.ops.reference import deform_attn

    return deform_attn.attend(call, _attention_weights(call))


def _attend_backward(grad_out: Tensor, call: DeformAttnCall) -> Any:
    from portbev.ops.reference import deform_attn

    return deform_attn.gradients(grad_out, call, _attention_weights(call))


KERNELS: tuple[Kernel, ...] = (
    Kernel(
        operator="deform_attn",
        provider="emulated",
        backends=("npu",),
        forward=_attend,
        backward=_attend_backward,
        priority=1,
        probe=_only_emulated,
    ),
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
