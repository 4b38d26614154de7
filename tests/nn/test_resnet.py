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
