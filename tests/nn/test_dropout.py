"""Dropout layers: keys by name, steps, no state."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from portbev.nn.dropout import Dropout, prepare_dropout, set_dropout_step


def network() -> nn.Sequential:
    return nn.Sequential(Dropout(0.5), nn.Sequential(nn.Identity(), Dropout(0.5)))


def masks(model: nn.Sequential) -> list[Tensor]:
    outer, inner = model[0], model[1][1]  # type: ignore[index]
    return [layer(torch.ones(4096)) != 0 for layer in (outer, inner)]


def agreement(one: Tensor, other: Tensor) -> float:
    return (one == other).double().mean().item()


def test_layers_of_one_model_have_masks_of_their_own() -> None:
    model = network()
    prepare_dropout(model, seed=1)
    assert abs(agreement(*masks(model)) - 0.5) < 0.05


def test_masks_are_equal_for_equal_names_whatever_else_is_in_the_model() -> None:
    model, other = network(), network()
    other.insert(2, Dropout(0.1))
    for each in (model, other):
        prepare_dropout(each, seed=1)
    for one, two in zip(masks(model), masks(other), strict=True):
        assert torch.equal(one, two)


def test_a_layer_under_another_name_gets_another_mask() -> None:
    model, moved = network(), network()
    moved.insert(0, nn.Identity())
    for each in (model, moved):
        prepare_dropout(each, seed=1)
    assert abs(agreement(masks(model)[0], moved[1](torch.ones(4096)) != 0) - 0.5) < 0.05


def test_steps_and_seeds_give_other_masks_and_the_same_step_the_same() -> None:
    model = network()
    prepare_dropout(model, seed=1)
    first = masks(model)[1]
    set_dropout_step(model, 3)
    third = masks(model)[1]
    prepare_dropout(model, seed=2)
    other_seed = masks(model)[1]
    prepare_dropout(model, seed=1)
    assert torch.equal(masks(model)[1], third)
    set_dropout_step(model, 0)
    assert torch.equal(masks(model)[1], first)
    for one, two in ((first, third), (third, other_seed), (first, other_seed)):
        assert abs(agreement(one, two) - 0.5) < 0.05


def test_the_mask_owes_nothing_to_the_global_generator() -> None:
    model = network()
    prepare_dropout(model, seed=1)
    torch.manual_seed(0)
    first = masks(model)[0]
    state = torch.get_rng_state()
    torch.manual_seed(99)
    assert torch.equal(masks(model)[0], first)
    torch.manual_seed(0)
    masks(model)
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_saved_and_a_copy_has_the_same_key() -> None:
    model = network()
    prepare_dropout(model, seed=1)
    assert not model.state_dict()
    assert torch.equal(masks(copy.deepcopy(model))[1], masks(model)[1])


def test_evaluation_returns_the_input() -> None:
    x = torch.rand(10)
    assert network().eval()(x) is x
