"""Calls of operators on the device meta, written down."""

from __future__ import annotations

import torch

from portbev import ops
from portbev.kernels import KERNELS
from portbev.nn.precision import full_precision
from portbev.ops.tracing import CallTrace


def test_a_trace_has_the_calls_of_both_directions_as_kernels_get_them() -> None:
    x = torch.empty(2, 64, 5000, 4000, device="meta", requires_grad=True)
    offset = torch.empty(2, 18, 5000, 4000, device="meta")
    weight = torch.empty(64, 32, 3, 3, device="meta", requires_grad=True)
    before = KERNELS.ledger.snapshot()
    with CallTrace() as trace:
        y = ops.deform_conv2d(x, offset, weight, padding=1, groups=2)
        ops.fft(torch.empty(3, 8, device="meta"))
        y.sum().backward()
    assert [(call.operator, call.direction) for call in trace.calls] == [
        ("deform_conv2d", "forward"),
        ("fft", "forward"),
        ("deform_conv2d", "backward"),
    ]
    forward, _, backward = trace.calls
    assert forward.call.input.shape == backward.call.input.shape == x.shape
    assert (forward.call.padding, backward.call.groups, forward.grad_out) == ([1, 1], 2, None)
    assert backward.grad_out is not None and backward.grad_out.shape == y.shape
    assert x.grad is not None and x.grad.device.type == "meta"
    assert KERNELS.ledger.snapshot() == before  # nothing was computed


def test_autocast_is_off_on_meta_whatever_the_cpu_does() -> None:
    x, weight = torch.empty(1, 8, 4, 4, device="meta"), torch.empty(8, 8, 3, 3, device="meta")
    with torch.autocast("cpu", dtype=torch.bfloat16), full_precision(torch.device("meta")):
        y = ops.deform_conv2d(x, torch.empty(1, 18, 4, 4, device="meta"), weight, padding=1)
    assert y.dtype == torch.float32
