"""A step that ends at a value that is not finite leaves its dump: that is when one is needed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from making import CONFIG, MakeDump
from safetensors.torch import save_file
from test_compare import command
from torch import Tensor, nn

from portbev.config import load_config
from portbev.models import build_model
from portbev.parity.dumps.compare import compare
from portbev.parity.dumps.reading import Dump, load_dump
from portbev.parity.dumps.told import lines
from portbev.plugins import plugins
from portbev.recording.dump import Plan
from portbev.train import setup


def broken(monkeypatch: pytest.MonkeyPatch, breaks: Any) -> None:
    """Every model that training builds is handed to ``breaks``."""
    build = setup._build_model

    def built(*args: Any, **kwargs: Any) -> Any:
        model, notes = build(*args, **kwargs)
        breaks(model)
        return model, notes

    monkeypatch.setattr(setup, "_build_model", built)


def one_nan(module: nn.Module) -> None:
    def hook(_: nn.Module, __: Any, result: Tensor) -> Tensor:
        return torch.where(torch.arange(result.numel()).view(result.shape) == 7, torch.nan, result)

    module.register_forward_hook(hook)


def test_a_step_whose_loss_is_not_finite_leaves_a_dump_that_leads_to_the_module(
    base: Dump, make_dump: MakeDump, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken(monkeypatch, lambda model: one_nan(model.get_submodule("backbone.img_backbone.layer2.0.conv1")))
    found = make_dump()
    assert "not finite" in found.header.ended
    assert not found.header.reruns
    roles = Counter(record.key.role for record in found.ranks[0].records)
    assert roles["output"] > 100
    assert not roles["update"]
    calls = {record.key.call for record in found.ranks[0].records if record.key.module.endswith("layer2.0.conv1")}
    assert calls == {0}, "looking for the cause is no part of the step"
    told = compare(base, found)
    assert told.verdict == "different"
    assert told.cause is not None
    assert told.cause.a.key.module == "backbone.img_backbone.layer2.0.conv1"
    assert any(line.startswith("B ended early: ") for line in lines(told))


def test_a_loss_term_and_a_gradient_that_are_not_finite_are_in_the_dump(
    make_dump: MakeDump, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loses(model: nn.Module) -> None:
        losses = model.losses

        def worse(*args: Any, **kwargs: Any) -> dict[str, Tensor]:
            terms: dict[str, Tensor] = losses(*args, **kwargs)  # type: ignore[operator]
            first = next(iter(terms))
            return {**terms, first: terms[first] * torch.inf}

        model.losses = worse  # type: ignore[assignment]

    broken(monkeypatch, loses)
    found = make_dump(plan=Plan(level="sketch", bands=False))
    assert "the loss is not finite" in found.header.ended
    losses = [r.sketch for r in found.ranks[0].records if r.key.role == "loss"]
    assert any(told is not None and told.inf for told in losses)
    grads = [r.sketch for r in found.ranks[0].records if r.key.role == "parameter.grad"]
    assert any(told is not None and told.nan + told.inf for told in grads)


def test_the_command_says_that_the_step_ended_and_writes_the_dump(tmp_path: Path) -> None:
    config = load_config(CONFIG)
    torch.manual_seed(config.train.seed)
    model = build_model(plugins().models()[config.model.family], config.model)
    state = {name: value.detach().clone() for name, value in model.state_dict().items()}
    state["backbone.img_backbone.conv1.weight"][0, 0, 0, 0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    done = command(
        "parity", "dump", CONFIG, "--backend", "cpu", "--init", tmp_path / "w.safetensors", "--out", tmp_path / "d"
    )
    assert done.returncode == 0, done.stderr
    assert "the step ended early, without bands: " in done.stdout
    assert "parameter backbone.img_backbone.conv1.weight" in load_dump(tmp_path / "d").header.ended
