"""The npu backend's kernels: bit equality with the CPU, limits with their reasons, and who serves in their place."""

from __future__ import annotations

from typing import Any

import mx_driving
import pytest
import torch
from kernel_inputs import MASKED, attention_inputs, both, close, deform_call, deform_inputs, on_npu, served
from torch import Tensor

from portbev import ops
from portbev.kernels import KERNELS, Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.gradients import gradients
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.operator import OPERATORS, BackwardOperator
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.plugins import plugins
from portbev.runtime import activate
from portbev.testing.cases import cases, in_float64, on_device
from portbev_npu.kernels import ms_deform_attn, mx_deform_conv2d, torch_npu_deform_conv2d, voxel_pool, voxel_pool_lift


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


NPU_KERNELS = [kernel for kernel in plugins().kernels() if "npu" in kernel.backends and kernel.probe() is None]


@pytest.mark.parametrize("kernel", NPU_KERNELS, ids=lambda kernel: f"{kernel.operator} by {kernel.provider}")
def test_every_kernel_has_the_values_and_gradients_of_the_definition(kernel: Kernel) -> None:
    """By the definition in float64 on the host; the kernels compute in float32 on the device."""
    operator = OPERATORS[kernel.operator]
    calls = [case.call for case in cases() if case.operator == kernel.operator]
    served = [call for call in calls if kernel.refusal(on_device(call, torch.device("npu"))) is None]
    assert served
    for call in served:
        there, exact = on_device(call, torch.device("npu")), in_float64(call)
        defined = operator.definition(exact)
        close(kernel.run(there), defined)
        if kernel.backward is not None:
            assert isinstance(operator.gradient, BackwardOperator)
            grad_out = torch.linspace(-1, 1, defined.numel()).view(defined.shape)
            wanted = gradients(operator.definition, exact, operator.gradient.differentiable, grad_out.double())
            for one, other in zip(kernel.run(there, grad_out.to("npu")), wanted, strict=True):
                close(one, other)


def test_voxel_pool_is_served_and_equals_the_cpu_bit_for_bit() -> None:
    activate("npu", emulate=True)
    voxels = torch.randint(-1, 9, (2, 500, 3)).int()
    host, there = both(lambda f, v: ops.voxel_pool(f, v, (8, 7, 9)), [torch.randn(2, 500, 8), voxels])
    assert all(torch.equal(a, b) for a, b in zip(host, there, strict=True))
    assert "mx_driving" in served("voxel_pool", "forward")


@pytest.mark.parametrize(("channels", "provider"), [(16, "mx_driving"), (7, "reference")])
def test_voxel_pool_lift_is_served_and_equals_the_cpu_bit_for_bit(channels: int, provider: str) -> None:
    activate("npu", emulate=True)
    voxels = torch.randint(-1, 9, (2, 3, 4, 5, 6, 3)).int()
    inputs = [torch.rand(2, 3, 4, 5, 6), torch.randn(2, 3, channels, 5, 6), voxels]
    host, there = both(lambda d, c, v: ops.voxel_pool_lift(d, c, v, (8, 7, 9)), inputs)
    assert all(torch.equal(a, b) for a, b in zip(host, there, strict=True))
    assert served("voxel_pool_lift", "forward") == served("voxel_pool_lift", "backward") == {provider, "reference"}


ATTENTION = {
    "as many queries each": ([30, 30], {}, {}, "mx_driving"),
    "a number of queries of its own": ([30, 0, 7, 41], {}, {}, "mx_driving"),
    "few queries": ([1, 0, 1], {}, {}, "mx_driving"),
    "deterministic": ([30, 0, 7, 41], {"deterministic": "required"}, {}, "emulated"),
    "odd heads": ([30, 0, 7, 41], {}, {"width": 5}, "mx_driving"),
    "many heads": ([30, 0, 7, 41], {}, {"heads": 9}, "emulated"),
    "no queries": ([0, 0], {}, {}, "emulated"),
    "the reference": ([30, 0, 7, 41], {"kernels": {"ms_deform_attn": "reference"}}, {}, "reference"),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", ATTENTION)
def test_ms_deform_attn_equals_the_cpu_bit_for_bit(name: str, dtype: torch.dtype) -> None:
    counts, options, shape, provider = ATTENTION[name]
    value, *rest = attention_inputs(len(counts), sum(counts), **shape)
    found = []
    try:
        for name_of_backend in ("cpu", "npu"):
            backend = activate(name_of_backend, emulate=name_of_backend == "npu", **options)
            leaves = [t.to(backend.device()).requires_grad_() for t in (value.to(dtype), *rest)]
            out = ops.ms_deform_attn_ragged(leaves[0], [(5, 6), (2, 3)], leaves[1], leaves[2], counts)
            gradients = torch.autograd.grad(out.float().square().sum(), leaves)
            found.append([t.cpu() for t in (out, *gradients)])
        assert served("ms_deform_attn", "forward") == served("ms_deform_attn", "backward") == {provider}
    finally:
        activate("npu", emulate=True)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(
    ("options", "provider"),
    [
        ({}, "mx_driving"),
        ({"deterministic": "required"}, "emulated"),
        ({"kernels": {"all": "reference"}}, "reference"),
    ],
    ids=["default", "deterministic", "reference"],
)
def test_deform_attn_samples_by_the_vendor_and_equals_the_cpu_bit_for_bit(
    options: dict[str, Any], provider: str, dtype: torch.dtype
) -> None:
    counts, query = [30, 0, 7, 41], torch.arange(78) * 7 % 50
    value, places, logits = attention_inputs(4, 78)
    inputs = [value, 4 * places[:50], logits[:50], places[:, :1, 0, :1]]
    found = []
    try:
        for name in ("cpu", "npu"):
            backend = activate(name, emulate=name == "npu", **options)
            leaves = [t.to(dtype).to(backend.device()).requires_grad_() for t in inputs]
            numbers = query.to(backend.device())
            out = ops.deform_attn_ragged(leaves[0], [(5, 6), (2, 3)], *leaves[1:], numbers, counts)
            gradients = torch.autograd.grad(out.float().square().sum(), leaves)
            found.append([t.cpu() for t in (out, *gradients)])
        assert served("ms_deform_attn", "forward") == served("ms_deform_attn", "backward") == {provider}
    finally:
        activate("npu", emulate=True)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


def test_images_with_queries_are_one_call_each_and_alike_ones_together() -> None:
    calls = [(images, rows) for images, rows in ms_deform_attn.calls([3, 0, 2])]
    assert calls == [(slice(0, 1), slice(0, 3)), (slice(2, 3), slice(3, 5))]
    assert list(ms_deform_attn.calls([4, 4, 4])) == [(slice(0, 3), slice(0, 12))]


@pytest.mark.parametrize(
    ("value", "locations", "reason"),
    [
        ((1, 4, 2, 257), (5, 2, 1, 4, 2), "heads of 257 channels; mx_driving takes at most 256"),
        ((1, 4, 9, 8), (5, 9, 1, 4, 2), "9 heads; mx_driving documents at most 8"),
        ((1, 4, 2, 8), (5, 2, 1, 65, 2), "1 levels of 65 points; mx_driving takes at most 64 in all"),
        ((1, 4, 2, 8), (0, 2, 1, 4, 2), "empty input"),
    ],
)
def test_mx_driving_attention_says_its_limits(value: tuple[int, ...], locations: tuple[int, ...], reason: str) -> None:
    where = torch.empty(locations, device="meta")
    call = MsDeformAttnCall(torch.empty(value, device="meta"), where, where[..., 0], torch.tensor([5]), [2, 2])
    assert ms_deform_attn.supports(call) == reason


def test_mx_driving_attention_leaves_float64_to_others() -> None:
    value, locations, weights = (t.double() for t in attention_inputs(1, 3))
    call = MsDeformAttnCall(value, locations, weights, torch.tensor([3]), [5, 6, 2, 3])
    assert "float64" in str(ms_deform_attn.supports(call))


def test_no_point_in_the_grid_gives_zeros_without_asking_the_vendor() -> None:
    activate("npu", emulate=True)
    voxels = torch.full((1, 1, 2, 2, 2, 3), -1).int().to("npu")
    depth, context = torch.rand(1, 1, 2, 2, 2, device="npu"), torch.rand(1, 1, 8, 2, 2, device="npu").requires_grad_()
    pooled = ops.voxel_pool_lift(depth, context, voxels, (3, 3, 1))
    pooled.sum().backward()
    assert pooled.abs().sum().item() == 0
    assert context.grad is not None
    assert context.grad.abs().sum().item() == 0


def test_required_determinism_passes_over_kernels_that_add_in_any_order() -> None:
    activate("npu", emulate=True, deterministic="required")
    try:
        page = KERNELS.ledger.snapshot()
        for operator in ("deform_conv2d", "ms_deform_attn", "voxel_pool", "voxel_pool_lift"):
            reasons = [entry["reason"] for entry in page[operator]["passed_over"] if entry["provider"] == "mx_driving"]
            assert reasons == ["not deterministic"]
    finally:
        activate("npu", emulate=True)


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


@pytest.mark.parametrize(
    ("chip", "reason"),
    [
        ("Ascend910B2", None),
        ("Ascend910_9362", None),
        ("Ascend310P3", "mx_driving has no deform_conv2d for Ascend310P3"),
        ("Ascend910A", "mx_driving has no deform_conv2d for Ascend910A"),
        ("a name to come", None),
    ],
)
def test_a_chip_without_the_operator_is_no_place_for_it(
    chip: str, reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.npu, "get_device_name", lambda device=None: chip)
    call = deform_call(deform_inputs())
    assert mx_deform_conv2d.supports(call) == mx_deform_conv2d.supports_backward(call.input, call) == reason


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


def test_double_precision_is_outside_every_vendor_kernel_and_half_outside_of_pooling() -> None:
    call = deform_call([None if t is None else t.double() for t in deform_inputs()])
    for kernel in (mx_deform_conv2d, torch_npu_deform_conv2d):
        assert kernel.supports(call) == f"input is float64; {kernel.PROVIDER} takes float32 only"
        said = kernel.supports_backward(call.input, call)
        assert said == f"grad is float64; {kernel.PROVIDER} takes float32 only"
    features, voxels = torch.ones(1, 4, 8).half(), torch.zeros(1, 4, 3).int()
    assert "float16" in str(voxel_pool.supports(VoxelPoolCall(features, voxels, [4, 3, 1])))
    depth, context = torch.ones(1, 1, 2, 2, 2).half(), torch.ones(1, 1, 8, 2, 2).half()
    lifted = VoxelPoolLiftCall(depth, context, torch.zeros(1, 1, 2, 2, 2, 3).int(), [4, 3, 1])
    assert "float16" in str(voxel_pool_lift.supports(lifted))


def test_torch_npu_says_that_axes_must_be_alike() -> None:
    said = torch_npu_deform_conv2d.supports(deform_call(deform_inputs())._replace(stride=[2, 1]))
    assert said is not None
    assert said.startswith("stride (2, 1) differs by axis")


@pytest.mark.parametrize(
    ("shape", "size", "reason"),
    [
        ((129, 1, 7), (4, 3, 1), "129 batch"),
        ((1, 100_001, 7), (4, 3, 1), "100,001 points"),
        ((1, 4, 257), (4, 3, 1), "257 channels"),
        ((1, 4, 7), (1001, 3, 1), "1,001 cells in x"),
        ((1, 4, 7), (4, 3, 11), "11 cells in z"),
        ((5, 90_000, 250), (4, 3, 1), r"112,500,000 features"),
        ((1, 4, 368), (4, 3, 1), "368 channels; mx_driving takes at most 256 unless channels are a multiple of 8"),
        ((8, 1 << 20, 256), (4, 3, 1), "2,147,483,648 floats of features; mx_driving numbers them by int32"),
        ((8, 4, 256), (1024, 1024, 1), "2,147,483,648 floats of results; mx_driving numbers them by int32"),
        ((1, 0, 8), (4, 3, 1), "empty input"),
    ],
)
def test_mx_driving_voxel_pool_says_its_limits(shape: tuple[int, ...], size: tuple[int, ...], reason: str) -> None:
    features, voxels = torch.empty(shape, device="meta"), torch.empty(*shape[:2], 3, device="meta")
    said = voxel_pool.supports(VoxelPoolCall(features, voxels, list(size)))
    assert said is not None
    assert reason in said


@pytest.mark.parametrize("channels", [4, 12, 368])
def test_mx_driving_voxel_pool_lift_says_its_limits(channels: int) -> None:
    context = torch.empty(1, 1, channels, 2, 2, device="meta")
    depth = torch.empty(1, 1, 2, 2, 2, device="meta")
    said = voxel_pool_lift.supports(VoxelPoolLiftCall(depth, context, context, [4, 3, 1]))
    assert said == f"{channels} channels; mx_driving takes multiples of 8 up to 360"


@pytest.mark.parametrize(("channels", "function"), [(8, "bev_pool_v3"), (7, "npu_voxel_pooling_train")])
def test_voxel_pool_chooses_its_function_by_the_channels(
    channels: int, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    for name in ("bev_pool_v3", "npu_voxel_pooling_train"):
        plain = getattr(mx_driving, name)
        monkeypatch.setattr(mx_driving, name, lambda *a, name=name, plain=plain: called.append(name) or plain(*a))
    features, voxels = torch.randn(2, 50, channels), torch.randint(-1, 9, (2, 50, 3)).int()
    expected = ops.voxel_pool(features, voxels, (8, 7, 9))
    assert torch.equal(ops.voxel_pool(features.to("npu"), voxels.to("npu"), (8, 7, 9)).cpu(), expected)
    assert called == [function]


def test_more_points_than_the_slow_function_takes_are_pooled_in_blocks() -> None:
    """A point of BEVDepth's frustum in eight."""
    call = VoxelPoolCall(torch.empty(1, 473_088, 80, device="meta"), torch.empty(1, device="meta"), [128, 128, 1])
    assert voxel_pool.supports(call) is None


def test_no_point_of_voxel_pool_in_the_grid_gives_zeros_without_asking_the_vendor() -> None:
    pooled = ops.voxel_pool(torch.ones(1, 3, 8, device="npu"), torch.full((1, 3, 3), -1).int().to("npu"), (4, 3, 1))
    assert pooled.shape == (1, 3, 4, 8)
    assert pooled.count_nonzero().item() == 0


@pytest.mark.parametrize(
    ("cameras", "height", "channels", "size", "reason"),
    [
        (1, 2, 8, (1 << 14, 1 << 14, 1), "2,147,483,648 floats of results"),
        (1 << 13, 1 << 10, 256, (4, 3, 1), "2,147,483,648 floats of context"),
        (1 << 13, 1 << 10, 248, (4, 3, 1), None),
    ],
)
def test_what_int32_ranks_cannot_number_is_passed_on(
    cameras: int, height: int, channels: int, size: tuple[int, ...], reason: str | None
) -> None:
    context = torch.empty(1, cameras, channels, height, 1, device="meta")
    depth = torch.empty(1, cameras, 2, height, 1, device="meta")
    call = VoxelPoolLiftCall(depth, context, context, list(size))
    said = voxel_pool_lift.supports(call)
    assert said == voxel_pool_lift.supports_backward(depth, call)
    assert said is None if reason is None else str(said).startswith(reason)


def test_backwards_call_the_vendors_own_without_its_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(mx_driving, "bev_pool_v3")
    monkeypatch.delattr(mx_driving, "multi_scale_deformable_attn")
    depth, context, voxels = on_npu(
        torch.rand(1, 1, 2, 3, 3), torch.rand(1, 1, 8, 3, 3), torch.zeros(1, 1, 2, 3, 3, 3).int()
    )
    lifted = VoxelPoolLiftCall(depth, context, voxels, [2, 2, 1])
    found = voxel_pool_lift.backward(torch.ones(1, 2, 2, 8, device="npu"), lifted)
    assert [tuple(gradient.shape) for gradient in found] == [tuple(depth.shape), tuple(context.shape)]
    value, locations, weights = on_npu(*attention_inputs(1, 4))
    call = MsDeformAttnCall(value, locations, weights, torch.tensor([4]), [5, 6, 2, 3])
    grads = ms_deform_attn.backward(torch.ones(4, 16, device="npu"), call)
    assert [g.shape for g in grads] == [value.shape, locations.shape, weights.shape]


def test_the_310p_pools_and_attends_and_has_no_gradient_of_attention(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.npu, "get_device_name", lambda device=None: "Ascend310P3")
    value, locations, weights = attention_inputs(1, 3)
    call = MsDeformAttnCall(value, locations, weights, torch.tensor([3]), [5, 6, 2, 3])
    assert ms_deform_attn.supports(call) is None
    lacks = "mx_driving has no {} for Ascend310P3"
    assert ms_deform_attn.supports_backward(weights, call) == lacks.format("multi_scale_deformable_attn_backward")
    features, voxels = torch.ones(1, 4, 8), torch.zeros(1, 4, 3).int()
    assert voxel_pool.supports(VoxelPoolCall(features, voxels, [4, 3, 1])) is None
    said = voxel_pool.supports(VoxelPoolCall(features[..., :7], voxels, [4, 3, 1]))
    assert said == lacks.format("npu_voxel_pooling_train")
