"""Layers of mmcv's names: results, keys, versions of the state, arguments and mistakes."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from portbev.compat.mmcv import ext
from portbev.compat.mmcv.cnn import ConvModule, build_activation_layer, build_conv_layer, build_norm_layer
from portbev.compat.mmcv.deform_conv import DeformConv2d, DeformConv2dFunction, DeformConv2dPack, deform_conv2d
from portbev.compat.mmcv.modulated_deform_conv import (
    ModulatedDeformConv2d,
    ModulatedDeformConv2dFunction,
    ModulatedDeformConv2dPack,
)
from portbev.compat.mmcv.multi_scale_deform_attn import (
    MultiScaleDeformableAttention,
    MultiScaleDeformableAttnFunction,
    multi_scale_deformable_attn_pytorch,
)

PACKS: list[Any] = [DeformConv2dPack, ModulatedDeformConv2dPack]


def by_grid_sample(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Deformable attention as the paper has it: bilinear samples of each head's map, weighted and added."""
    B, _, M, D = value.shape
    out, first = 0, 0
    for level, (h, w) in enumerate(shapes):
        maps = value[:, first : first + h * w].permute(0, 2, 3, 1).reshape(B * M, D, h, w)
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).flatten(0, 1)
        samples = functional.grid_sample(maps, grid, align_corners=False)  # (B*M, D, Q, P)
        out = out + (samples * weights[:, :, :, level].transpose(1, 2).flatten(0, 1)[:, None]).sum(-1)
        first += h * w
    assert isinstance(out, Tensor)
    return out.view(B, M * D, -1).transpose(1, 2)


def attention(
    dtype: torch.dtype = torch.float64, **changed: Any
) -> tuple[MultiScaleDeformableAttention, dict[str, Any]]:
    """A layer with drawn weights, and arguments for it (batch first)."""
    torch.manual_seed(3)
    layer = MultiScaleDeformableAttention(8, 2, 2, 3, batch_first=True, **changed).to(dtype).eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    return layer, {
        "query": torch.randn(2, 5, 8, dtype=dtype),
        "value": torch.randn(2, 8, 8, dtype=dtype),
        "query_pos": torch.randn(2, 5, 8, dtype=dtype),
        "identity": torch.randn(2, 5, 8, dtype=dtype),
        "key_padding_mask": torch.rand(2, 8) > 0.7,
        "spatial_shapes": torch.tensor([[2, 3], [1, 2]]),
        "level_start_index": torch.tensor([0, 6]),
        "reference_points": torch.rand(2, 5, 2, 2, dtype=dtype),
    }


@given(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3), st.integers(0, 3), st.booleans())
@settings(max_examples=15, deadline=None)
def test_attention_is_the_papers_formula(B: int, M: int, levels: int, seed: int, as_function: bool) -> None:
    torch.manual_seed(seed)
    shapes = [(level + 1, 3) for level in range(levels)]
    value = torch.randn(B, sum(h * w for h, w in shapes), M, 2, dtype=torch.float64)
    locations = torch.rand(B, 4, M, levels, 2, 2, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(B, 4, M, levels, 2, dtype=torch.float64)
    if as_function:
        starts = torch.tensor([sum(h * w for h, w in shapes[:level]) for level in range(levels)])
        table = torch.tensor(shapes)
        found = MultiScaleDeformableAttnFunction.apply(value, table, starts, locations, weights, 64)
    else:
        found = multi_scale_deformable_attn_pytorch(value, shapes, locations, weights)
    torch.testing.assert_close(found, by_grid_sample(value, shapes, locations, weights), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("ratio", [1.0, 0.5])
def test_the_attention_layer_is_its_formula(boxes: bool, ratio: float) -> None:
    layer, given_ = attention(value_proj_ratio=ratio)
    if boxes:
        given_["reference_points"] = torch.rand(2, 5, 2, 4, dtype=torch.float64)
    query, shapes = given_["query"] + given_["query_pos"], [(2, 3), (1, 2)]
    value = layer.value_proj(given_["value"]).masked_fill(given_["key_padding_mask"][..., None], 0)
    value = value.view(2, 8, 2, int(4 * ratio))
    offsets = layer.sampling_offsets(query).view(2, 5, 2, 2, 3, 2)
    weights = layer.attention_weights(query).view(2, 5, 2, 6).softmax(-1).view(2, 5, 2, 2, 3)
    at = given_["reference_points"][:, :, None, :, None]
    sizes = torch.tensor([[3.0, 2.0], [2.0, 1.0]], dtype=torch.float64)[:, None]
    locations = at[..., :2] + (offsets / 3 * at[..., 2:] * 0.5 if boxes else offsets / sizes)
    wanted = layer.output_proj(by_grid_sample(value, shapes, locations, weights)) + given_["identity"]
    torch.testing.assert_close(layer(**given_), wanted, rtol=1e-10, atol=1e-10)


def test_sequence_first_and_the_old_name_of_identity_are_the_same_numbers() -> None:
    layer, given_ = attention()
    other = copy.deepcopy(layer)
    other.batch_first = False
    turned = {
        k: v.transpose(0, 1) if k in ("query", "value", "query_pos", "identity") else v for k, v in given_.items()
    }
    turned["residual"] = turned.pop("identity")
    with pytest.warns(DeprecationWarning, match="identity"):
        found = other(**turned)
    assert torch.equal(found.transpose(0, 1), layer(**given_))
    given_["identity"] = None
    without = layer(**given_)
    given_["identity"] = given_["query"]
    assert torch.equal(without, layer(**given_))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"reference_points": torch.rand(2, 5, 2, 3)}, "must be 2 or 4, but get 3"),
        ({"spatial_shapes": torch.tensor([[2, 3], [2, 2]])}, "level_start_index|pixels"),
        ({"spatial_shapes": torch.tensor([[2, 4], [1, 2]]), "level_start_index": None}, "value has 8 pixels"),
        ({"level_start_index": torch.tensor([0, 5])}, r"level_start_index is \[0, 6\], not \[0, 5\]"),
        ({"spatial_shapes": None}, "spatial_shapes are needed"),
        ({"spatial_shapes": torch.tensor([2, 3])}, r"\(levels, 2\)"),
    ],
)
def test_arguments_of_attention_that_do_not_fit_are_named(changed: dict[str, Any], said: str) -> None:
    layer, given_ = attention(torch.float32)
    with pytest.raises(ValueError, match=said):
        layer(**{**given_, **changed})


def test_heads_that_do_not_divide_the_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="divisible by num_heads, but got 10 and 4"):
        MultiScaleDeformableAttention(10, 4)


def test_initial_offsets_of_attention_fan_out() -> None:
    layer = MultiScaleDeformableAttention(16, 4, 2, 3)
    fan = layer.sampling_offsets.bias.view(4, 2, 3, 2)
    directions = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    wanted = directions[:, None, None] * torch.tensor([1.0, 2.0, 3.0])[:, None]
    torch.testing.assert_close(fan, wanted.expand(4, 2, 3, 2), atol=1e-6, rtol=0)
    assert not layer.sampling_offsets.weight.any() and not layer.attention_weights.weight.any()
    assert list(layer.state_dict()) == [
        f"{name}.{kind}"
        for name in ("sampling_offsets", "attention_weights", "value_proj", "output_proj")
        for kind in ("weight", "bias")
    ]


def test_the_extensions_backward_adds_what_autograd_finds() -> None:
    torch.manual_seed(0)
    value, locations = torch.randn(2, 8, 2, 3, requires_grad=True), torch.rand(2, 4, 2, 2, 3, 2, requires_grad=True)
    weights, table = torch.rand(2, 4, 2, 2, 3, requires_grad=True), torch.tensor([[2, 3], [1, 2]])
    starts, read = torch.tensor([0, 6]), (value, locations, weights)
    out = MultiScaleDeformableAttnFunction.apply(value, table, starts, locations, weights, 64)
    grad = torch.randn_like(out)
    wanted = torch.autograd.grad(out, read, grad)
    found = [torch.zeros_like(t) for t in read]
    given_ = value.detach(), table, starts, locations.detach(), weights.detach()
    assert torch.equal(ext.ms_deform_attn_forward(*given_, im2col_step=64), out)
    ext.ms_deform_attn_backward(*given_, grad, *found, im2col_step=64)
    assert all(torch.equal(f, w) for f, w in zip(found, wanted, strict=True))


@pytest.mark.parametrize("kind", PACKS)
@pytest.mark.parametrize("geometry", [(3, 1, 1, 1), (3, 2, 0, 2), ((3, 1), (1, 2), (1, 0), 1)])
def test_without_offsets_it_is_a_convolution(kind: Any, geometry: tuple[Any, ...]) -> None:
    torch.manual_seed(1)
    layer = kind(4, 6, *geometry, groups=2, deform_groups=2).double()
    x, half = torch.randn(2, 4, 7, 8, dtype=torch.float64), 0.5 if kind is ModulatedDeformConv2dPack else 1.0
    plain = functional.conv2d(x, layer.weight, None, layer.stride, layer.padding, layer.dilation, 2) * half
    torch.testing.assert_close(layer(x), plain, rtol=1e-12, atol=1e-12)


def test_a_whole_pixel_of_offset_moves_the_taps() -> None:
    layer = ModulatedDeformConv2d(1, 1, 1, bias=True)
    nn.init.ones_(layer.weight)
    nn.init.ones_(layer.bias)
    x, offset = torch.arange(12.0).view(1, 1, 3, 4), torch.zeros(1, 2, 3, 4)
    offset[:, 1] = 1.0  # dy, dx
    mask = torch.full((1, 1, 3, 4), 2.0)
    wanted = functional.pad(x, (0, 1))[..., 1:] * 2 + 1
    assert torch.equal(layer(x, offset, mask), wanted)
    assert torch.equal(ModulatedDeformConv2dFunction.apply(x, offset, mask, layer.weight, layer.bias), wanted)
    assert torch.equal(DeformConv2dFunction.apply(x, offset, layer.weight) * 2 + 1, wanted)


def test_a_map_smaller_than_the_kernel_is_padded_and_cut() -> None:
    layer = DeformConv2d(2, 3, 3, padding=1)
    x = torch.rand(1, 2, 1, 5)
    assert torch.allclose(layer(x, torch.zeros(1, 18, 1, 5)), functional.conv2d(x, layer.weight, padding=1), atol=1e-6)


@pytest.mark.parametrize("kind", PACKS)
def test_states_of_version_1_are_taken_by_their_old_keys(kind: Any) -> None:
    def network() -> nn.Module:
        model = nn.Module()
        model.conv2 = kind(2, 3, 3)
        for parameter in model.parameters():
            nn.init.normal_(parameter)
        return model

    old, new = network(), network()
    state = old.state_dict()
    assert state._metadata["conv2"]["version"] == 2  # type: ignore[attr-defined]
    plain = {key.replace("conv2.conv_offset", "conv2_offset"): value for key, value in state.items()}
    assert "conv2_offset.weight" in plain
    missing: list[str] = []
    # As mmcv's and mmengine's loaders do: every module gets the whole state.
    new.conv2._load_from_state_dict(plain, "conv2.", {}, True, missing, [], [])
    assert missing == ["conv2.conv_offset.weight", "conv2.conv_offset.bias"] or not missing
    new.conv2.conv_offset._load_from_state_dict(plain, "conv2.conv_offset.", {}, True, missing, [], [])
    assert missing == []
    assert all(torch.equal(value, new.state_dict()[key]) for key, value in state.items())


def test_initial_weights_are_mmcvs_draws() -> None:
    torch.manual_seed(5)
    first = DeformConv2dPack(4, 6, 3)
    torch.manual_seed(5)
    wanted = nn.init.kaiming_uniform_(torch.empty(6, 4, 3, 3), nonlinearity="relu")
    assert torch.equal(first.weight, wanted) and not first.conv_offset.weight.any()
    torch.manual_seed(5)
    second = ModulatedDeformConv2dPack(4, 6, 3)
    torch.manual_seed(5)
    torch.empty(6, 4, 3, 3).uniform_()
    nn.Conv2d(4, 27, 3)
    assert torch.equal(second.weight, torch.empty(6, 4, 3, 3).uniform_(-1 / 6, 1 / 6))
    assert second.bias is not None and not second.bias.any() and not second.conv_offset.bias.any()


def test_old_names_and_mistakes_of_convolutions() -> None:
    with pytest.warns(DeprecationWarning, match="deform_groups"):
        assert DeformConv2dPack(4, 4, 3, deformable_groups=2).conv_offset.out_channels == 36
    with pytest.raises(AssertionError, match="bias"):
        DeformConv2d(2, 2, 3, bias=True)
    with pytest.raises(AssertionError, match="in_channels 3"):
        DeformConv2d(3, 2, 3, groups=2)
    with pytest.raises(ValueError, match="Expected 4D tensor as input, got 3D"):
        deform_conv2d(torch.rand(2, 5, 5), torch.zeros(1, 18, 5, 5), torch.rand(2, 2, 3, 3))
    with pytest.raises(ValueError, match="offset is"):
        deform_conv2d(torch.rand(1, 2, 5, 5), torch.zeros(1, 18, 5, 5), torch.rand(2, 2, 3, 3))
    assert ModulatedDeformConv2dPack(2, 2, 3, bias=False).bias is None


def test_the_result_has_the_dtype_of_the_offsets() -> None:
    x, weight = torch.rand(1, 2, 3, 3), torch.rand(2, 2, 1, 1)
    assert deform_conv2d(x, torch.zeros(1, 2, 3, 3, dtype=torch.float64), weight).dtype == torch.float64
    with torch.autocast("cpu", torch.bfloat16):
        assert ModulatedDeformConv2dPack(2, 2, 1)(x).dtype == torch.bfloat16


def test_builders_of_mmcv_cnn_name_and_start_their_layers_as_mmcv_does() -> None:
    module = ConvModule(2, 4, 3, padding=1, norm_cfg={"type": "BN", "requires_grad": False}, act_cfg={"type": "Tanh"})
    assert list(dict(module.named_children())) == ["conv", "bn", "activate"] and module.conv.bias is None
    assert not module.bn.weight.requires_grad and module.norm is module.bn
    deformable = ConvModule(2, 4, 3, padding=1, conv_cfg={"type": "DCNv2"}, norm_cfg={"type": "GN", "num_groups": 2})
    assert "gn.weight" in deformable.state_dict() and "conv.conv_offset.bias" in deformable.state_dict()
    assert deformable(torch.rand(1, 2, 4, 4)).min() >= 0
    assert build_norm_layer({"type": "SyncBN"}, 4, 2)[0] == "bn2" and build_norm_layer({"type": "LN"}, 4)[0] == "ln"
    assert type(build_conv_layer(None, 2, 2, 1)) is nn.Conv2d
    for error, said, cfg in (
        (KeyError, "'DCNv4' is not covered", {"type": "DCNv4"}),
        (KeyError, "type", {}),
        (TypeError, "dict", 3),
    ):
        with pytest.raises(error, match=said):
            build_conv_layer(cfg, 2, 2, 1)  # type: ignore[arg-type]
    with pytest.raises(KeyError, match="Mish"):
        build_activation_layer({"type": "Mish"})
    with pytest.raises(ValueError, match="reflect"):
        ConvModule(2, 2, 1, padding_mode="reflect")
