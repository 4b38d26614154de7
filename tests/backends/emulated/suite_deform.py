"""deform_conv2d on the npu backend: bit equality with the CPU, limits with their reasons, and who serves instead."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from kernel_inputs import MASKED, both, deform_call, deform_inputs, on_npu, served
from torch import Tensor

from portbev import ops
from portbev.kernels import KERNELS
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.gradients import gradients
from portbev.runtime import activate
from portbev_npu.kernels import mx_deform_conv2d, torch_npu_deform_conv2d


@pytest.mark.parametrize(
    ("options", "provider"),
    [
        ({}, "mx_driving"),
        ({"channels": 256, "masked": True, "results": 64}, "mx_driving"),  # BEVFormer's
        ({"channels": 64, "groups": 4}, "mx_driving"),  # BEVDepth's
        ({"channels": 16}, "torch_npu"),
        ({"channels": 256, "masked": True}, "torch_npu"),
        ({"channels": 16, "groups": 2, "deform": 2, "masked": True}, "torch_npu"),
        ({"channels": 16, "deform": 2, "kernel": (1, 3), "masked": True}, "torch_npu"),
    ],
)
def test_deform_conv2d_is_served_and_equals_the_cpu_bit_for_bit(options: dict[str, Any], provider: str) -> None:
    activate("npu", emulate=True)
    groups, deform = options.get("groups", 1), options.get("deform", 1)

    def call(x: Tensor, offset: Tensor, weight: Tensor, mask: Tensor | None, bias: Tensor | None) -> Tensor:
        return ops.deform_conv2d(x, offset, weight, bias, mask, padding=1, groups=groups, deform_groups=deform)

    host, there = both(call, deform_inputs(**options))
    assert all(torch.equal(a, b) for a, b in zip(host, there, strict=True))
    assert served("deform_conv2d", "forward") == {provider, "reference"}
    assert served("deform_conv2d", "backward") == {provider, "reference"}


@pytest.mark.parametrize(
    ("change", "groups", "deform", "reason"),
    [
        ({"channels": 32}, 1, 1, "32 input channels.*multiple of 64"),
        ({"deform": 2}, 1, 2, "deform_groups is 2"),
        ({"kernel": (1, 3)}, 1, 1, "kernel 1x3; mx_driving documents square"),
        ({"kernel": (1, 1), "masked": True, "results": 64}, 1, 1, "kernel 1x1 with a mask; mx_driving takes 3x3 only"),
        ({"masked": True}, 1, 1, "8 output channels with a mask; mx_driving needs a multiple of 64"),
    ],
)
def test_mx_driving_deform_conv2d_says_its_limits(
    change: dict[str, Any], groups: int, deform: int, reason: str
) -> None:
    import re

    said = mx_deform_conv2d.supports(deform_call(deform_inputs(**change))._replace(groups=groups, deform_groups=deform))
    assert said is not None
    assert re.search(reason, said)


@pytest.mark.parametrize("step", ["stride", "padding", "dilation"])
@pytest.mark.parametrize("channels", [256, 512])
def test_a_step_that_the_second_kernels_ignore_is_passed_on(step: str, channels: int) -> None:
    call = deform_call(deform_inputs(**{**MASKED, "channels": channels}))
    assert mx_deform_conv2d.supports(call) is None
    said = mx_deform_conv2d.supports(call._replace(**{step: [2, 2]}))
    assert said == f"{step} (2, 2) with a mask and {channels} input channels; mx_driving computes as if it were 1"
    other = call._replace(input=call.input[:, :128], weight=call.weight[:, :128], **{step: [2, 2]})
    assert mx_deform_conv2d.supports(other) is None, "the first kernels heed it"


def test_a_scrambled_gradient_of_offsets_is_passed_on_and_the_forward_is_not() -> None:
    call = deform_call(deform_inputs(channels=128, masked=True, results=64))
    assert mx_deform_conv2d.supports(call) is None
    assert mx_deform_conv2d.supports_backward(call.input, call) == (
        "gradient of the offsets with a mask, 128 input channels and groups 1; "
        "mx_driving scrambles it unless there are 256 or 512 and one group"
    )
    assert mx_deform_conv2d.supports_backward(call.input, call._replace(mask=None)) is None
    grouped = deform_call(deform_inputs(groups=4, **MASKED))._replace(groups=4)
    assert "256 input channels and groups 4" in str(mx_deform_conv2d.supports_backward(grouped.input, grouped))


def test_the_ledger_says_why_the_masked_backward_went_to_another() -> None:
    activate("npu", emulate=True)
    host, there = both(
        lambda x, o, w, m, b: ops.deform_conv2d(x, o, w, b, m, padding=1),
        deform_inputs(channels=128, masked=True, results=64),
    )
    assert all(torch.equal(a, b) for a, b in zip(host, there, strict=True))
    assert served("deform_conv2d", "forward") == {"mx_driving", "reference"}
    assert served("deform_conv2d", "backward") == {"torch_npu", "reference"}
    (entry,) = KERNELS.ledger.snapshot()["deform_conv2d"]["passed_over"]
    assert entry["reason"].startswith("backward: gradient of the offsets with a mask")


def test_more_channels_than_the_first_backward_takes_are_passed_on() -> None:
    call = deform_call(deform_inputs(channels=576))
    assert mx_deform_conv2d.supports(call) is None
    said = mx_deform_conv2d.supports_backward(call.input, call)
    assert said == "576 input channels; mx_driving's backward is wrong above 512"


@pytest.mark.parametrize(
    ("across", "masked", "served"), [(327, False, True), (328, False, False), (305, True, True), (306, True, False)]
)
def test_a_row_that_does_not_fit_the_local_memory_is_passed_on(across: int, masked: bool, served: bool) -> None:
    """512 input channels: 53,248 bytes, and 48 or 52 for each of 9 x row, up to a multiple of 64."""
    shapes = [(1, 512, 2, across), (1, 18, 2, across), (64, 64, 3, 3), (1, 9, 2, across)]
    x, offset, weight, mask = (torch.empty(shape, device="meta") for shape in shapes)
    call = DeformConv2dCall(x, offset, weight, mask if masked else None, None, [1, 1], [1, 1], [1, 1], 8, 1)
    said = mx_deform_conv2d.supports(call)
    assert said is None if served else "196,608 and does not look" in str(said)
    assert (mx_deform_conv2d.row_bytes(call) <= 196_608) == served


def test_a_mask_of_zero_sends_finite_gradients_that_equal_the_cpus() -> None:
    activate("npu", emulate=True)
    inputs = deform_inputs(**MASKED)
    assert inputs[3] is not None
    inputs[3][:, ::2] = 0.0
    host, there = both(lambda x, o, w, m, b: ops.deform_conv2d(x, o, w, b, m, padding=1), inputs)
    assert served("deform_conv2d", "backward") == {"mx_driving", "reference"}
    for one, other in zip(host, there, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-6, atol=1e-12)
    assert torch.equal(host[2], there[2]), "a tap that is off sends its offset exactly nothing"


def test_gradients_that_come_back_as_views_are_handed_on_contiguous() -> None:
    call = deform_call(on_npu(*deform_inputs(**MASKED)))
    grad_out = torch.ones(2, 64, 5, 6, device="npu")
    direct = gradients(mx_deform_conv2d._convolve, call, ("input",), grad_out)
    assert not direct[0].is_contiguous()
    assert all(gradient.is_contiguous() for gradient in mx_deform_conv2d.backward(grad_out, call))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("options", "provider"),
    [
        ({"groups": 4}, "mx_driving"),  # BEVDepth's, under its fp16
        ({"channels": 256, "masked": True, "results": 64}, "mx_driving"),
        ({"channels": 16, "masked": True}, "torch_npu"),
    ],
)
def test_half_precision_is_convolved_in_float32_and_rounded_once_as_on_the_cpu(
    dtype: torch.dtype, options: dict[str, Any], provider: str
) -> None:
    activate("npu", emulate=True)
    inputs = [None if t is None else t.to(dtype) for t in deform_inputs(**options)]
    groups = options.get("groups", 1)
    host, there = both(lambda x, o, w, m, b: ops.deform_conv2d(x, o, w, b, m, padding=1, groups=groups), inputs)
    assert all(one.dtype == other.dtype == dtype for one, other in zip(host, there, strict=True))
    assert all(torch.equal(one, other) for one, other in zip(host, there, strict=True))
    assert served("deform_conv2d", "forward") == served("deform_conv2d", "backward") == {provider, "reference"}


def test_torch_npu_says_that_axes_must_be_alike() -> None:
    said = torch_npu_deform_conv2d.supports(deform_call(deform_inputs())._replace(stride=[2, 1]))
    assert said is not None
    assert said.startswith("stride (2, 1) differs by axis")
