"""What all kernels of the npu backend share: they are the definition's, and are passed over by one set of rules."""

from __future__ import annotations

import mx_driving
import pytest
import torch
from kernel_inputs import attention_inputs, close, deform_call, deform_inputs, on_npu

from portbev.kernels import KERNELS, Kernel
from portbev.ops.gradients import gradients
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.operator import OPERATORS, BackwardOperator
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.opscheck.small import cases, in_float64, on_device
from portbev.plugins import plugins
from portbev.runtime import activate
from portbev_npu.kernels import ms_deform_attn, mx_deform_conv2d, torch_npu_deform_conv2d, voxel_pool, voxel_pool_lift

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
