"""The average of the weights: its formula, what it leaves alone, and that applying it is undone to the bit."""

from __future__ import annotations

import math

import pytest
import torch

from portbev.config.schema import EmaSection
from portbev.train.ema import Ema


def model() -> torch.nn.Module:
    torch.manual_seed(1)
    return torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


def test_average_follows_the_ramped_decay() -> None:
    net = model()
    ema = Ema(net, EmaSection(decay=0.9, ramp=5), 3)
    before = net[0].weight.detach().clone()
    with torch.no_grad():
        net[0].weight += 1
    ema.update(net)
    decay = 0.9 * (1 - math.exp(-4 / 5))
    torch.testing.assert_close(ema.state["0.weight"], decay * before + (1 - decay) * (before + 1))


def test_batch_statistics_are_averaged_and_counters_are_not() -> None:
    net = model()
    ema = Ema(net, EmaSection(), 10_000_000)
    net.train()(torch.randn(8, 3))
    ema.update(net)
    assert int(net[1].num_batches_tracked) == 1
    assert int(ema.state["1.num_batches_tracked"]) == 0
    expected = 0.999 * torch.ones(2) + 0.001 * net[1].running_var
    torch.testing.assert_close(ema.state["1.running_var"], expected)


def test_model_gets_its_own_weights_back_to_the_bit_even_after_an_error() -> None:
    net = model()
    ema = Ema(net, EmaSection(), 0)
    with torch.no_grad():
        net[0].weight += 0.123
    own = {key: value.clone() for key, value in net.state_dict().items()}

    def fail_inside() -> None:
        with ema.applied(net):
            assert torch.equal(net[0].weight, ema.state["0.weight"])
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail_inside()
    assert all(torch.equal(value, own[key]) for key, value in net.state_dict().items())


def test_average_does_not_share_memory_with_the_model() -> None:
    net = model()
    ema = Ema(net, EmaSection(), 0)
    first = ema.state["0.weight"].clone()
    with torch.no_grad():
        net[0].weight.zero_()
    assert torch.equal(ema.state["0.weight"], first)
