"""Parts that a model names are compiled in place, and nothing else about the model changes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from portbev.config import ComputeSection
from portbev.nn import compiled
from portbev_cpu.backend import CpuBackend


class Trunk(nn.Linear):
    """A class of one's own: torch does not trace its own containers from the outside."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x).relu()


class Parted(nn.Module):
    """Names a part, and one that this size of the model does not have."""

    compiled_parts = ("trunk", "absent")

    def __init__(self) -> None:
        super().__init__()
        self.trunk = Trunk(4, 4)
        self.head = nn.Linear(4, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(x))


def asked(model: nn.Module, way: str) -> list[str]:
    return CpuBackend().prepare_model(model, ComputeSection.model_validate({"compile": way}))


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The graphs that are compiled: by a backend that runs them as they are, which needs no C++ compiler."""
    graphs: list[Any] = []

    def keep(graph: torch.fx.GraphModule, inputs: Any) -> Any:
        graphs.append(graph)
        return graph

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda *args, **kwargs: real(*args, **{**kwargs, "backend": keep}))
    monkeypatch.setattr(compiled, "why_not", lambda device: None)
    yield graphs
    torch.compiler.reset()


def test_the_named_parts_alone_are_compiled_and_the_state_keeps_its_keys(traced: list[Any]) -> None:
    torch.manual_seed(0)
    model, x = Parted(), torch.randn(2, 4)
    expected, keys = model(x), list(model.state_dict())
    notes = asked(model, "parts")
    assert notes == ["compute.compile: trunk are compiled, which the first steps take time for"]
    assert asked(model, "parts") == notes and not traced
    assert torch.equal(model(x), expected) and len(traced) == 1 and list(model.state_dict()) == keys
    assert asked(model, "off") == []
    torch.compiler.reset()
    model(x)
    assert len(traced) == 1, "what is off is not traced"


def test_a_part_that_recomputes_its_activations_is_left_out_and_said(traced: list[Any]) -> None:
    model = Parted()
    model.trunk.checkpointing = True  # type: ignore[assignment]
    assert asked(model, "parts") == [
        "compute.compile: trunk are not compiled, because their activations are recomputed"
    ]
    model(torch.ones(1, 4))
    assert not traced


def test_where_nothing_compiles_it_is_said_and_the_model_runs_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("backend='inductor' raised:\nInvalidCxxCompiler: No working C++ compiler found in g++\nmore")

    model = Parted()
    monkeypatch.setattr(torch, "compile", broken)
    (note,) = asked(model, "parts")
    assert note == ("compute.compile: nothing is compiled: InvalidCxxCompiler: No working C++ compiler found in g++")
    assert model(torch.ones(1, 4)).shape == (1, 1)


def test_an_emulated_device_and_a_model_without_parts_are_said() -> None:
    compute = ComputeSection.model_validate({"compile": "parts"})
    (note,) = CpuBackend().as_emulated().prepare_model(Parted(), compute)
    assert note == "compute.compile: nothing is compiled: nothing compiles for an emulated device"
    (note,) = CpuBackend().prepare_model(nn.Linear(2, 2), compute)
    assert note == "compute.compile: this model names no parts to compile; nothing is compiled"
