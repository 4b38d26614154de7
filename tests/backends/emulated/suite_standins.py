"""The stand-ins refuse what the vendor's wheels refuse or compute wrong, so that a provider's mistakes fail here."""

from __future__ import annotations

from typing import Any

import mx_driving
import pytest
import torch
import torch_npu
from kernel_inputs import MASKED, attention_inputs, deform_call, deform_inputs, on_npu

from portbev_npu.kernels import torch_npu_deform_conv2d
from portbev_npu.kernels.torch_npu_deform_conv2d import pack_offset, unpack_offset


def test_the_stand_in_divides_by_the_mask_as_the_wheel_does() -> None:
    x, offset, weight, mask, _ = on_npu(*deform_inputs(**MASKED))
    mask[:, 0] = 0.0
    mask.requires_grad_()
    mx_driving.modulated_deform_conv2d(x, offset, mask, weight, None, 1, 1, 1).sum().backward()
    assert mask.grad[:, 0].isnan().all()
    assert not mask.grad[:, 1:].isnan().any()


def test_the_stand_in_refuses_what_the_wheel_computes_wrong() -> None:
    x, offset, weight, mask, _ = on_npu(*deform_inputs(**MASKED))
    with pytest.raises(RuntimeError, match="taken to be 1"):
        mx_driving.modulated_deform_conv2d(x, offset, mask, weight, None, 1, 2, 2)
    narrow = [x[:, :64].contiguous(), offset, mask, weight[:, :64].contiguous().requires_grad_()]
    with pytest.raises(RuntimeError, match="scrambled"):
        mx_driving.modulated_deform_conv2d(*narrow, None, 1, 1, 1).sum().backward()


def test_packing_offsets_is_undone_by_unpacking() -> None:
    _, offset, _, mask, _ = deform_inputs(channels=16, deform=2, masked=True)
    assert offset is not None and mask is not None
    packed = pack_offset(offset, mask)
    again, same_mask = unpack_offset(packed)
    assert torch.equal(again, offset)
    assert torch.equal(same_mask, mask)
    assert torch.equal(packed[:, 0], offset[:, 1]), "dx of the first tap comes first"


def test_stand_in_refuses_arguments_in_another_order() -> None:
    x, offset, weight, _, _ = on_npu(*deform_inputs(results=64))
    with pytest.raises(RuntimeError, match="weight must have shape"):
        mx_driving.deform_conv2d(x, weight, offset, 1, 1, 1, 1, 1)
    with pytest.raises(RuntimeError, match="bias is ignored"):
        mx_driving.modulated_deform_conv2d(x, offset, offset, weight, offset, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kernel_size": [3, 1]}, r"kernel_size must be \[kH, kW\]"),
        ({"stride": [1, 1]}, "stride must have 4 values"),
        ({"stride": [1, 2, 1, 1]}, r"stride must be \[1, 1, s, s\]"),
        ({"padding": [1, 1]}, "padding must have 4 values"),
        ({"padding": [0, 0, 1, 1]}, r"padding must be \[p, p, p, p\]"),
        ({"dilation": [1, 1, 2, 1]}, r"dilation must be \[1, 1, d, d\]"),
        ({"modulated": False}, "modulated must be True"),
    ],
)
def test_stand_in_of_torch_npu_refuses_layouts_that_are_not_documented(change: dict[str, Any], message: str) -> None:
    call = deform_call(on_npu(*deform_inputs(channels=16, kernel=(1, 3), masked=True)))
    options, packed = torch_npu_deform_conv2d.vendor_options(call), pack_offset(call.offset, call.mask)
    torch_npu.npu_deformable_conv2d(call.input, call.weight, packed, None, **options)
    with pytest.raises(RuntimeError, match=message):
        torch_npu.npu_deformable_conv2d(call.input, call.weight, packed, None, **{**options, **change})


def test_stand_in_of_the_backward_wants_the_second_output_of_its_own_forward() -> None:
    call = deform_call(on_npu(*deform_inputs(channels=16, masked=True)))
    x, weight, options = call.input, call.weight, torch_npu_deform_conv2d.vendor_options(call)
    packed = pack_offset(call.offset, call.mask)
    output, sampled = torch_npu.npu_deformable_conv2d(x, weight, packed, None, **options)
    torch_npu.npu_deformable_conv2dbk(x, output, sampled, weight, packed, **options)
    _, other = torch_npu.npu_deformable_conv2d(x, weight, packed + 1, None, **options)
    with pytest.raises(RuntimeError, match="second output"):
        torch_npu.npu_deformable_conv2dbk(x, output, other, weight, packed, **options)
    with pytest.raises(RuntimeError, match="offset_out must have shape"):
        torch_npu.npu_deformable_conv2dbk(x, output, output, weight, packed, **options)


def test_stand_in_of_voxel_pooling_enforces_limits_and_types() -> None:
    features, voxels = torch.randn(1, 4, 8, device="npu"), torch.zeros(1, 4, 3, dtype=torch.int32, device="npu")
    assert mx_driving.npu_voxel_pooling_train(voxels, features, [5, 4, 1]).shape == (1, 8, 4, 5)
    with pytest.raises(RuntimeError, match=r"features must be torch\.float32"):
        mx_driving.npu_voxel_pooling_train(features, voxels, [5, 4, 1])
    with pytest.raises(RuntimeError, match=r"geom_xyz must be torch\.int32"):
        mx_driving.npu_voxel_pooling_train(voxels.long(), features, [5, 4, 1])
    with pytest.raises(RuntimeError, match="voxel_num must be a list of 3 ints"):
        mx_driving.npu_voxel_pooling_train(voxels, features, torch.tensor([5, 4, 1]))
    with pytest.raises(RuntimeError, match="on npu"):
        mx_driving.npu_voxel_pooling_train(voxels.cpu(), features, [5, 4, 1])


def test_stand_in_of_bev_pool_checks_ranks_and_shape() -> None:
    depth, feat = torch.rand(1, 1, 2, 2, 2, device="npu"), torch.rand(1, 1, 2, 2, 8, device="npu")
    ranks = torch.tensor([0, 1, 2], dtype=torch.int32, device="npu")
    assert mx_driving.bev_pool_v3(depth, feat, ranks, ranks, ranks, [1, 1, 3, 4, 8]).shape == (1, 8, 1, 3, 4)
    with pytest.raises(RuntimeError, match=r"ranks_feat must be in \[0, 4\)"):
        mx_driving.bev_pool_v3(depth, feat, ranks, ranks + 2, ranks, [1, 1, 3, 4, 8])
    with pytest.raises(RuntimeError, match="feat must have shape"):
        mx_driving.bev_pool_v3(depth, feat.permute(0, 1, 4, 2, 3).contiguous(), ranks, ranks, ranks, [1, 1, 3, 4, 8])
    with pytest.raises(RuntimeError, match="bev_feat_shape must be"):
        mx_driving.bev_pool_v3(depth, feat, ranks, ranks, ranks, [1, 8, 1, 3, 4])
    with pytest.raises(RuntimeError, match=r"ranks_bev must be torch\.int32"):
        mx_driving.bev_pool_v3(depth, feat, ranks, ranks, ranks.long(), [1, 1, 3, 4, 8])


def test_stand_in_of_bev_pool_without_depth_takes_rows_columns_heights_and_images() -> None:
    feat = torch.arange(1.0, 25.0).view(3, 8).to("npu")
    geom = torch.tensor([[1, 4, 0, 0], [2, 0, 0, 1], [1, 4, 0, 0]], dtype=torch.int32, device="npu")
    pooled = mx_driving.bev_pool_v3(None, feat, None, None, geom, [2, 1, 3, 5, 8]).cpu()
    assert torch.equal(pooled[0, :, 0, 1, 4], feat[0].cpu() + feat[2].cpu())
    assert torch.equal(pooled[1, :, 0, 2, 0], feat[1].cpu())
    assert pooled.count_nonzero() == 16
    with pytest.raises(RuntimeError, match=r"ranks_bev must be in \[3, 5, 1, 2\]: nothing is checked on the device"):
        mx_driving.bev_pool_v3(None, feat, None, None, geom.flip(1), [2, 1, 3, 5, 8])
    with pytest.raises(RuntimeError, match=r"ranks_bev must have shape \(3, 4\)"):
        mx_driving.bev_pool_v3(None, feat, None, None, geom[:, 0].contiguous(), [2, 1, 3, 5, 8])
    with pytest.raises(RuntimeError, match="multiple of 8 up to 360, is 4"):
        mx_driving.bev_pool_v3(None, feat[:, :4].contiguous(), None, None, geom, [2, 1, 3, 5, 4])


def test_stand_in_of_the_attention_enforces_layout_limits_and_types() -> None:
    value, locations, weights = on_npu(*attention_inputs(1, 4))
    locations, weights = locations[None], weights[None]
    shapes = torch.tensor([[5, 6], [2, 3]], dtype=torch.int32, device="npu")
    starts = torch.tensor([0, 30], dtype=torch.int32, device="npu")
    attend = mx_driving.multi_scale_deformable_attn
    assert attend(value, shapes, starts, locations, weights).shape == (1, 4, 16)
    assert attend(value, shapes.long(), starts.long(), locations, weights).shape == (1, 4, 16)
    half = attend(value.half(), shapes, starts, locations.half(), weights.half())
    assert half.dtype == torch.float16
    with pytest.raises(RuntimeError, match="sampling_locations must have shape"):
        attend(value, shapes, starts, weights, locations)
    with pytest.raises(RuntimeError, match=r"sampling_locations must be torch\.float16"):
        attend(value.half(), shapes, starts, locations, weights)
    with pytest.raises(RuntimeError, match=r"value must be torch\.float32"):
        attend(value.bfloat16(), shapes, starts, locations, weights)
    with pytest.raises(RuntimeError, match="value_spatial_shapes must be int32 or int64"):
        attend(value, shapes.float(), starts, locations, weights)
    with pytest.raises(RuntimeError, match="value has 36 keys"):
        attend(value, shapes.flip(0) + 1, starts, locations, weights)
    with pytest.raises(RuntimeError, match=r"value_level_start_index must be \[0, 30\]"):
        attend(value, shapes, starts + 1, locations, weights)
    with pytest.raises(RuntimeError, match="must not be empty"):
        attend(value, shapes, starts, locations[:, :0], weights[:, :0])
    with pytest.raises(RuntimeError, match="at most 64, is 66"):
        attend(value, shapes, starts, locations.repeat(1, 1, 1, 1, 11, 1), weights.repeat(1, 1, 1, 1, 11))
    with pytest.raises(TypeError, match="positional-only"):
        attend(value, shapes, starts, locations, attention_weights=weights)
    with pytest.raises(RuntimeError, match="on npu"):
        attend(value.cpu(), shapes, starts, locations, weights)
