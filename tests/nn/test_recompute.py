"""Activations computed again in the backward pass: the same results and statistics, fewer kept."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from portbev.nn.dropout import Dropout, dropout_rows, prepare_dropout, set_dropout_step
from portbev.nn.recompute import recomputed


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), Dropout(0.3), nn.Conv2d(8, 2, 1))


def step(model: nn.Module, again: bool) -> dict[str, Tensor]:
    """Gradients and buffers after one step."""
    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), requires_grad=True)
    out = recomputed(model, x) if again else model(x)
    out.square().sum().backward()
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    return {**found, **dict(model.named_buffers()), "input": x.grad}  # type: ignore[dict-item]


@pytest.mark.parametrize("training", [True, False])
def test_recomputing_changes_neither_gradients_nor_statistics(training: bool) -> None:
    plain = network().train(training)
    prepare_dropout(plain, 5)
    again = copy.deepcopy(plain)
    kept, computed = step(plain, False), step(again, True)
    assert kept.keys() == computed.keys()
    for name, value in kept.items():
        torch.testing.assert_close(computed[name], value, rtol=1e-5, atol=1e-6)
    assert int(computed["1.num_batches_tracked"]) == int(training)
    assert again[1].momentum == plain[1].momentum  # type: ignore[union-attr]


def test_without_gradients_nothing_is_kept_for_later() -> None:
    with torch.no_grad():
        out = recomputed(network(), torch.ones(1, 3, 8, 8))
    assert out.grad_fn is None


def test_fewer_activations_are_kept() -> None:
    kept: list[int] = []
    for again in (False, True):
        sizes: list[int] = []

        def pack(x: Tensor, sizes: list[int] = sizes) -> Tensor:
            sizes.append(x.numel())
            return x

        model, x = network().train(), torch.randn(2, 3, 8, 8, requires_grad=True)
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
            recomputed(model, x) if again else model(x)
        kept.append(sum(sizes))
    assert kept[1] < kept[0]


def test_rows_that_pass_in_parts_have_the_mask_of_the_whole_and_ranks_that_of_their_place() -> None:
    layer = Dropout(0.5)
    prepare_dropout(layer, 1)
    x = torch.ones(12, 7)
    whole, parts = layer(x), []
    for begin in range(0, 12, 5):
        with dropout_rows(layer, begin, 12):
            parts.append(layer(x[begin : begin + 5]))
    assert torch.equal(torch.cat(parts), whole) and torch.equal(layer(x), whole)
    for rank in range(4):
        set_dropout_step(layer, 0, rank)
        assert torch.equal(layer(x[:3]), whole[3 * rank : 3 * rank + 3])
        with dropout_rows(layer, 2, 3):
            assert torch.equal(layer(x[:1]), whole[3 * rank + 2 : 3 * rank + 3])
