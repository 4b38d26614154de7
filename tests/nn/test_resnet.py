"""Residual networks, necks and ConvModule."""

from __future__ import annotations

import pytest
import torch

from portbev.errors import ConfigError
from portbev.nn.convmodule import ConvModule
from portbev.nn.resnet import ResNet, stage_channels
from portbev.nn.secondfpn import SECONDFPN


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_outputs_have_the_stages_strides_and_channels(depth: int) -> None:
    network = ResNet(depth, base_channels=4).eval()
    outputs = network(torch.randn(1, 3, 64, 96))
    assert [o.shape[1] for o in outputs] == list(stage_channels(depth, 4)) == list(network.out_channels)
    assert [tuple(o.shape[2:]) for o in outputs] == [(64 // s, 96 // s) for s in (4, 8, 16, 32)]


def test_without_max_pool_and_with_three_stages_the_first_output_is_half_size() -> None:
    network = ResNet(18, in_channels=5, base_channels=4, strides=(1, 2, 2), max_pool=False).eval()
    assert [o.shape[2] for o in network(torch.randn(1, 5, 32, 32))] == [16, 8, 4]


@pytest.mark.parametrize("frozen", [-1, 0, 1])
def test_frozen_stages_neither_train_nor_gather_statistics(frozen: int) -> None:
    network = ResNet(18, base_channels=4, frozen_stages=frozen).train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    sum(o.sum() for o in network(torch.randn(2, 3, 32, 32))).backward()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    still = ("conv1.", "bn1.", "layer1.")[: 0 if frozen < 0 else 2 + frozen]
    assert not any(name.startswith(still) for name in changed) if still else "bn1.running_mean" in changed
    assert "layer2.0.bn1.running_mean" in changed
    trained = {name for name, p in network.named_parameters() if p.grad is not None}
    assert trained == {name for name, _ in network.named_parameters() if not (still and name.startswith(still))}


def test_zero_init_residual_makes_blocks_the_identity() -> None:
    block = ResNet(18, base_channels=4).eval().layer1[0]
    x = torch.rand(1, 4, 8, 8)
    torch.testing.assert_close(block(x), x)


def test_unknown_depth_is_told() -> None:
    with pytest.raises(ConfigError, match="18, 34, 50"):
        ResNet(19)


def test_neck_brings_maps_to_one_size() -> None:
    neck = SECONDFPN([4, 8, 16], [3, 5, 7], [0.5, 1, 2]).eval()
    maps = [torch.randn(1, 4, 16, 24), torch.randn(1, 8, 8, 12), torch.randn(1, 16, 4, 6)]
    assert neck(maps).shape == (1, 15, 8, 12)
    assert isinstance(neck.deblocks[0][0], torch.nn.Conv2d)
    assert neck.deblocks[1][0].weight.shape == (8, 5, 1, 1)  # stride 1 is a transposed convolution
    assert (neck.deblocks[0][1].eps, neck.deblocks[0][1].momentum) == (1e-3, 0.01)


def test_neck_refuses_lists_of_different_lengths() -> None:
    with pytest.raises(ConfigError, match="neck"):
        SECONDFPN([4, 8], [3], [1, 2])


def test_conv_module_keys_are_those_of_openmmlab() -> None:
    keys = set(ConvModule(2, 3, 3, padding=1).state_dict())
    assert {"conv.weight", "bn.weight", "bn.running_var"} <= keys and "conv.bias" not in keys


def test_caffe_style_puts_the_stride_on_the_first_convolution() -> None:
    network = ResNet(50, base_channels=8, style="caffe")
    first = network.layer2[0]
    assert first.conv1.stride == (2, 2) and first.conv2.stride == (1, 1)
    assert ResNet(50, base_channels=8).layer2[0].conv2.stride == (2, 2)


def test_deformable_stages_start_as_plain_convolutions_at_half_weight() -> None:
    network = ResNet(50, base_channels=8, deformable_stages=(3,)).eval()
    deformable = network.layer3[1].conv2
    assert "layer3.1.conv2.conv_offset.bias" in network.state_dict()
    assert "layer2.1.conv2.conv_offset.bias" not in network.state_dict()
    x = torch.randn(1, 32, 5, 6)
    torch.testing.assert_close(
        deformable(x), 0.5 * torch.nn.functional.conv2d(x, deformable.weight, padding=1), rtol=1e-4, atol=1e-5
    )
    with pytest.raises(ConfigError, match="no caffe style"):
        ResNet(18, deformable_stages=(3,))


def test_frozen_norms_neither_train_nor_gather_statistics() -> None:
    network = ResNet(18, base_channels=8, frozen_norms=True).train()
    before = network.layer1[0].bn1.running_mean.clone()
    network(torch.randn(2, 3, 32, 32))[-1].sum().backward()
    assert torch.equal(network.layer1[0].bn1.running_mean, before)
    assert network.layer1[0].bn1.weight.grad is None and network.layer1[0].conv1.weight.grad is not None


def test_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for keep in (False, True):
        torch.manual_seed(0)
        network = ResNet(18, base_channels=8, checkpointing=keep, frozen_norms=True)
        network(torch.randn(1, 3, 32, 32, requires_grad=True))[-1].square().sum().backward()
        gradients.append([p.grad for p in network.parameters() if p.requires_grad])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_rows_and_columns_may_have_strides_of_their_own() -> None:
    network = ResNet(18, base_channels=8, stem_stride=(2, 1), pool_stride=1, strides=(1, (2, 1), 2, 2)).eval()
    outputs = network(torch.randn(1, 3, 64, 32))
    assert [tuple(o.shape[2:]) for o in outputs] == [(32, 32), (16, 32), (8, 16), (4, 8)]
    with pytest.raises(ConfigError, match="one stride"):
        ResNet(50, base_channels=8, strides=(1, (2, 1), 2, 2), deformable_stages=(2,))
