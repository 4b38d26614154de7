"""Attention, feed-forward layers and pyramids that models share."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from portbev.errors import ConfigError
from portbev.nn.attention import FeedForward, MultiheadAttention, direction_bias
from portbev.nn.deform_attention import MultiScaleDeformableAttention
from portbev.nn.fpn import FPN


@pytest.mark.parametrize("self_attention", [True, False])
def test_multihead_attention_equals_torchs_and_takes_its_weights(self_attention: bool) -> None:
    torch.manual_seed(0)
    theirs = nn.MultiheadAttention(12, 3, batch_first=True)
    ours = MultiheadAttention(12, 3)
    nn.init.normal_(theirs.in_proj_bias)
    ours.load_state_dict(theirs.state_dict())
    query = torch.randn(2, 5, 12)
    key = query if self_attention else torch.randn(2, 7, 12)
    value = torch.randn(2, key.shape[1], 12)
    expected, _ = theirs(query, key, value, need_weights=False)
    torch.testing.assert_close(ours(query, key, value), expected, rtol=1e-5, atol=1e-6)


def test_attention_dropout_drops_in_training_only() -> None:
    layer, x = MultiheadAttention(8, 2, dropout=0.5), torch.randn(1, 6, 8)
    assert torch.equal(layer.eval()(x, x, x), layer(x, x, x))
    assert not torch.allclose(layer.train()(x, x, x), layer.eval()(x, x, x))


def test_feed_forward_adds_its_input() -> None:
    layer, x = FeedForward(4, 8), torch.randn(2, 3, 4)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    assert torch.equal(layer(x), x)
    assert list(layer.state_dict()) == ["layers.0.0.weight", "layers.0.0.bias", "layers.1.weight", "layers.1.bias"]


def test_heads_look_around_the_circle_and_points_look_farther() -> None:
    bias = direction_bias(8, 2, 3).view(8, 2, 3, 2)
    for head in range(8):
        x, y = bias[head, 1, 0].tolist()
        assert math.degrees(math.atan2(y, x)) % 360 == pytest.approx(45.0 * head, abs=1e-3)
        assert max(abs(x), abs(y)) == pytest.approx(1.0)
    torch.testing.assert_close(bias[:, 0], bias[:, 1])
    torch.testing.assert_close(bias[:, :, 2], 3 * bias[:, :, 0])


def test_deformable_attention_reads_where_its_reference_and_offsets_say() -> None:
    """One head, one point, no offset, identity projections: the value of the pixel under the reference."""
    layer = MultiScaleDeformableAttention(2, heads=1, levels=2, points=1)
    with torch.no_grad():
        layer.sampling_offsets.bias.copy_(torch.tensor([0.0, 0.0, 1.0, 0.0]))  # one pixel to the right on level 1
        for linear in (layer.value_proj, layer.output_proj):
            linear.weight.copy_(torch.eye(2))
    value = torch.arange(2 * (12 + 3), dtype=torch.float32).view(1, 15, 2)
    shapes = [(3, 4), (1, 3)]
    reference = torch.tensor([[[2.5 / 4, 1.5 / 3]]])  # level 0: row 1, column 2; level 1: row 0, x = 1.875
    out = layer(torch.zeros(1, 1, 2), value, reference, shapes)
    first = value[0, 1 * 4 + 2]
    x = 2.5 / 4 * 3 - 0.5 + 1
    second = value[0, 12 + 2] * (1 - (x - 2))  # beyond the last column it fades to zero
    torch.testing.assert_close(out[0, 0], (first + second) / 2)


def test_a_pyramid_adds_coarse_to_fine_and_extra_levels_come_from_the_last_output() -> None:
    torch.manual_seed(0)
    pyramid = FPN([3, 5], 8, outputs=3)
    fine, coarse = torch.randn(2, 3, 5, 7), torch.randn(2, 5, 3, 4)
    outputs = pyramid([fine, coarse])
    assert [tuple(x.shape) for x in outputs] == [(2, 8, 5, 7), (2, 8, 3, 4), (2, 8, 2, 2)]
    lateral = pyramid.lateral_convs[1](coarse)
    merged = pyramid.lateral_convs[0](fine) + nn.functional.interpolate(lateral, size=(5, 7), mode="nearest")
    torch.testing.assert_close(outputs[0], pyramid.fpn_convs[0](merged))
    torch.testing.assert_close(outputs[2], pyramid.fpn_convs[2](pyramid.fpn_convs[1](lateral)))
    with pytest.raises(ConfigError, match="cannot have 1 outputs"):
        FPN([3, 5], 8, outputs=1)


def test_a_pyramid_with_norms_has_no_biases() -> None:
    pyramid = FPN([3], 8, norm=(1e-3, 0.01))
    assert not [name for name in pyramid.state_dict() if name.endswith("conv.bias")]
    norm = pyramid.fpn_convs[0].bn
    assert norm.eps == 1e-3 and norm.momentum == 0.01


def test_deformable_attention_exports_with_a_batch_of_any_size() -> None:
    torch.manual_seed(0)
    layer = MultiScaleDeformableAttention(16, 4, levels=2, points=2).eval()
    shapes = [(3, 4), (2, 2)]

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, query: Tensor, value: Tensor, reference: Tensor) -> Tensor:
            return self.layer(query, value, reference, shapes)

    def inputs(batch: int) -> tuple[Tensor, ...]:
        return torch.randn(batch, 5, 16), torch.randn(batch, 16, 16), torch.rand(batch, 5, 2)

    size = torch.export.Dim("batch", max=64)
    program = torch.export.export(Model(), inputs(3), dynamic_shapes=({0: size}, {0: size}, {0: size}))
    for batch in (1, 2, 7):
        arguments = inputs(batch)
        assert torch.equal(program.module()(*arguments), layer(*arguments, shapes))
