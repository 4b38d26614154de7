"""A loss that is not finite stops the run and says where it came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from portbev.config import RunConfig
from portbev.train import train
from portbev.train.nonfinite import NonFiniteError, first_nonfinite_gradient, first_nonfinite_module


def test_first_module_is_the_one_that_made_it_not_one_that_passed_it_on() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2), torch.nn.ReLU(), torch.nn.Linear(2, 2))
    model[1].register_forward_hook(lambda module, inputs, output: output / 0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    assert first_nonfinite_module(model, lambda: model(torch.randn(4, 2))) == "1"
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_a_spoiled_parameter_is_named_before_any_output() -> None:
    model = torch.nn.Linear(2, 2)
    with torch.no_grad():
        model.bias[0] = float("inf")
    assert first_nonfinite_module(model, lambda: model(torch.zeros(1, 2))) == "parameter bias"


def test_gradient_is_named() -> None:
    model = torch.nn.Linear(2, 2)
    model.weight.grad, model.bias.grad = torch.zeros(2, 2), torch.full((2,), float("nan"))
    assert first_nonfinite_gradient(model) == "bias"


def test_training_stops_with_step_terms_module_and_a_failed_record(
    toy: Callable[..., RunConfig], tiny_root: Path, tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteError) as caught:
        train(toy(model__nan_at_forward=4), backend="cpu", data_root=tiny_root, out=tmp_path)
    text = str(caught.value)
    assert "step 5" in text
    assert "heat nan" in text and "'middle'" in text
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["status"] == "failed"
    assert record["error"] == text
    assert record["progress"]["step"] == 4
