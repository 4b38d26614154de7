"""Weights are found below any nesting, by the names that they meet; what does not fit is named."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from portbev.errors import CheckpointError
from portbev.nn.misfit import Hint
from portbev.nn.pretrained import fit_state

State = dict[str, Tensor]


class Grid(nn.Module):
    """Has a buffer that follows from the configuration."""

    derived_buffers = ("cells",)

    def __init__(self, cells: int) -> None:
        super().__init__()
        self.register_buffer("cells", torch.arange(float(cells)))
        self.conv = nn.Conv2d(3, 4, 1)


class Net(nn.Module):
    weight_hints = (Hint(r"head\.weight", "other classes", "model.classes"),)

    def __init__(self, seed: int, classes: tuple[str, ...] = ("car", "bus", "van"), cells: int = 5) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.classes = classes
        self.backbone = Grid(cells)
        self.norm = nn.BatchNorm1d(4)
        self.layers = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))
        self.head = nn.Linear(4, len(classes))


def under(state: State, *prefixes: str) -> State:
    return {"".join(prefixes) + key: value for key, value in state.items()}


def zeros(state: State) -> State:
    return {key: torch.zeros_like(value) for key, value in state.items()}


def nested(state: State) -> dict[str, Any]:
    """A mapping for each part of the model."""
    parts: dict[str, Any] = {}
    for key, value in state.items():
        head, _, rest = key.partition(".")
        parts.setdefault(head, {})[rest] = value
    return parts


NESTINGS: dict[str, Callable[[State], Any]] = {
    "bare": lambda s: s,
    "state_dict": lambda s: {"state_dict": s, "epoch": 3},
    "model": lambda s: {"model": s, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}}},
    "model_state_dict": lambda s: {"model_state_dict": s},
    "network": lambda s: {"network": s, "iteration": 4},
    "params": lambda s: {"params": s},
    "weights": lambda s: {"weights": under(s, "net.")},
    "module": lambda s: {"module": s},  # DeepSpeed
    "twice": lambda s: {"state_dict": {"model": s}},
    "model of state_dict": lambda s: {"model": {"state_dict": under(s, "module.")}},
    "data parallel": lambda s: {"state_dict": under(s, "module.")},
    "compiled": lambda s: {"state_dict": under(s, "_orig_mod.")},
    "compiled and parallel": lambda s: {"model": under(s, "module.", "_orig_mod.")},
    "parallel and compiled": lambda s: {"model": under(s, "_orig_mod.", "module.", "model.")},
    "lightning": lambda s: {"state_dict": under(s, "model."), "pytorch-lightning_version": "2.0", "loops": {}},
    "fabric": lambda s: {"model": under(s, "_forward_module.")},
    "network prefix": lambda s: under(s, "network."),
    "detector": lambda s: {"state_dict": under(s, "detector.net.")},
    "a part compiled": lambda s: {k.replace("backbone.", "backbone._orig_mod."): v for k, v in s.items()},
    "sharded wrapper": lambda s: {k.replace("layers.1.", "layers.1._fsdp_wrapped_module."): v for k, v in s.items()},
    "parts": lambda s: {"model": nested(s)},
    "arrays": lambda s: {"model": {k: v.numpy() for k, v in s.items()}},
    "ema hook": lambda s: {"state_dict": {**s, **{"ema_" + k.replace(".", "_"): v * 0 for k, v in s.items()}}},
    "ema first": lambda s: {"state_dict_ema": s, "state_dict": zeros(s)},
    "ema model": lambda s: {"model": zeros(s), "ema_model": {"module": s}},
    "ema in the names": lambda s: {"state_dict": {**under(zeros(s), "model."), **under(s, "ema_model.")}},
    "student and teacher": lambda s: {"state_dict": {**under(zeros(s), "teacher."), **under(s, "student.")}},
    "criterion beside": lambda s: {"state_dict": {**under(s, "model."), "criterion.weight": torch.ones(9)}},
    "old torch": lambda s: {k: v for k, v in s.items() if not k.endswith("num_batches_tracked")},
    "without derived": lambda s: {k: v for k, v in s.items() if k != "backbone.cells"},
    "half": lambda s: {k: v.half() if v.is_floating_point() else v for k, v in s.items()},
    "a namespace": lambda s: {"args": argparse.Namespace(lr=1), "state_dict": s, "best": np.float64(2)},
}


@pytest.mark.parametrize("nesting", NESTINGS)
def test_weights_are_found_in_every_nesting(nesting: str) -> None:
    source, target = Net(1), Net(2)
    state = {key: value.half().to(value.dtype) for key, value in source.state_dict().items()}
    target.load_state_dict(fit_state(NESTINGS[nesting](state), target).state)
    for key, value in target.state_dict().items():
        assert torch.equal(value, state[key]) and value.dtype == state[key].dtype, key


@pytest.mark.parametrize(
    ("nesting", "note"),
    [
        ("state_dict", "epoch 3"),
        ("ema first", "the average of the weights (state_dict_ema) is read"),
        ("ema in the names", "the average of the weights (state_dict.ema_model) is read"),
        ("student and teacher", "the weights in state_dict.student are read, not those in state_dict.teacher"),
        ("criterion beside", "left aside: 1 tensors beside the model (state_dict.criterion.weight)"),
        ("ema hook", "14 shadow weights of an EMA hook left aside"),
    ],
)
def test_what_was_chosen_is_noted(nesting: str, note: str) -> None:
    target = Net(2)
    assert fit_state(NESTINGS[nesting](Net(1).state_dict()), target).notes == [note]


def test_the_average_is_left_where_it_is_not_wanted() -> None:
    source, target = Net(1), Net(2)
    content = {"state_dict": source.state_dict(), "ema": zeros(source.state_dict())}
    imported = fit_state(content, target, prefer_average=False)
    assert torch.equal(imported.state["head.weight"], source.head.weight)
    assert imported.notes == ["the weights in state_dict are read, not those in ema"]


@pytest.mark.parametrize("cells", [3, 5])
def test_derived_buffers_never_block_and_keep_the_model_s_values(cells: int) -> None:
    source, target = Net(1, cells=cells), Net(2)
    with torch.no_grad():
        source.backbone.cells += 1
    imported = fit_state(source.state_dict(), target)
    assert torch.equal(imported.state["backbone.cells"], torch.arange(5.0))
    assert torch.equal(imported.state["backbone.conv.weight"], source.backbone.conv.weight)
    assert imported.notes == [
        "computed from the configuration, not taken from the checkpoint, where they differ: backbone.cells"
    ]


def test_rounding_of_derived_buffers_is_no_difference() -> None:
    source, target = Net(1), Net(2)
    with torch.no_grad():
        source.backbone.cells *= 1 + 1e-6
    assert fit_state(source.state_dict(), target).notes == []


def test_another_number_of_classes_is_recognised() -> None:
    source, target = Net(1, ("car",) * 10), Net(2)
    with pytest.raises(CheckpointError) as caught:
        fit_state(source.state_dict(), target)
    said = str(caught.value)
    assert "other classes (10 there, 3 here: model.classes)" in said
    assert "2 misshaped (head.weight (10, 4) for (3, 4), head.bias (10,) for (3,))" in said
    assert "--init-partial" in said


def test_what_fits_is_taken_and_the_rest_is_listed_and_kept() -> None:
    source, target = Net(1, ("car",) * 10, cells=2), Net(2)
    before = target.head.weight.detach().clone()
    state = source.state_dict() | {"extra.weight": torch.ones(2)}
    del state["norm.weight"]
    imported = fit_state({"state_dict": state}, target, partial=True)
    target.load_state_dict(imported.state)
    assert torch.equal(target.backbone.conv.weight, source.backbone.conv.weight)
    assert torch.equal(target.layers[1].weight, source.layers[1].weight)
    assert torch.equal(target.head.weight, before)
    assert torch.equal(target.backbone.cells, torch.arange(5.0))
    (note,) = [note for note in imported.notes if "were taken" in note]
    assert note == (
        "10 of 14 weights were taken; other classes (10 there, 3 here: model.classes); 1 missing (norm.weight); "
        "1 unexpected (extra.weight); 2 misshaped (head.weight (10, 4) for (3, 4), head.bias (10,) for (3,))"
    )


def test_another_number_of_layers_is_recognised() -> None:
    source, target = Net(1), Net(2)
    state = source.state_dict() | {"layers.2.weight": torch.ones(4, 4), "layers.2.bias": torch.ones(4)}
    with pytest.raises(CheckpointError, match="layers has 3 parts there and 2 here"):
        fit_state(state, target)


@pytest.mark.parametrize("partial", [False, True])
def test_nothing_that_fits_is_refused(partial: bool) -> None:
    with pytest.raises(CheckpointError, match=r"holds 1 tensors, but none of the model's: fc\.weight there"):
        fit_state({"fc.weight": torch.ones(2)}, Net(1), partial=partial)
    with pytest.raises(CheckpointError, match="holds no weights"):
        fit_state({"epoch": 3}, Net(1), partial=partial)
    with pytest.raises(CheckpointError, match="none of its weights has a name and shape"):
        fit_state({"head.weight": torch.ones(2)}, Net(1), partial=partial)


def test_integers_for_weights_are_refused() -> None:
    state = Net(1).state_dict() | {"head.weight": torch.ones((3, 4), dtype=torch.int8)}
    with pytest.raises(CheckpointError, match=r"head\.weight int8 for float32"):
        fit_state(state, Net(2))


def test_weights_that_are_not_finite_are_noted() -> None:
    state = Net(1).state_dict() | {"head.bias": torch.tensor([0.0, float("nan"), 0.0])}
    assert fit_state(state, Net(2)).notes == ["the checkpoint holds 1 weights that are not finite (head.bias)"]


@pytest.mark.parametrize(
    "meta",
    [
        {"meta": {"CLASSES": ("bus", "car", "van")}},
        {"meta": {"dataset_meta": {"classes": ["bus", "car", "van"]}}},
        {"hyper_parameters": {"class_names": ["bus", "car", "van"]}},
    ],
)
def test_classes_at_other_places_are_named(meta: dict[str, Any]) -> None:
    content = {"state_dict": Net(1).state_dict(), **meta}
    assert fit_state(content, Net(2)).notes == [
        "the checkpoint has the same classes at other places (car 1 there, 0 here, bus 0 there, 1 here): "
        "what it calls one the model calls another"
    ]


def test_other_names_of_as_many_classes_are_named() -> None:
    content = {"state_dict": Net(1).state_dict(), "meta": {"CLASSES": ["car", "van", "tram"]}}
    assert fit_state(content, Net(2)).notes == [
        "the checkpoint has other classes (not in it: bus; only in it: tram; at other places: van 1 there, 2 here)"
    ]
    content["meta"] = {"CLASSES": ["car", "bus", "van"]}
    assert fit_state(content, Net(2)).notes == []
