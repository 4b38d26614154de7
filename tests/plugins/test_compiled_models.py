"""The parts that the models name: torch traces each as one graph, and compiled ones learn what the model learns."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from portbev.config import ComputeSection
from portbev.nn.compiled import compiled_parts
from portbev.nn.dropout import prepare_dropout, set_dropout_step
from portbev_cpu.backend import CpuBackend

sys.path[:0] = [str(Path(__file__).parent / family) for family in ("bevdepth", "bevformer", "echofusion")]


def bevdepth() -> tuple[Any, Any]:
    from bevdepth_cases import make_batch, small

    from portbev_bevdepth.model import BEVDepth

    return BEVDepth(small()), make_batch(small())


def bevformer() -> tuple[Any, Any]:
    from bevformer_cases import build, make_batch

    return build(dropout=0.1), make_batch(2, 2)


def echofusion() -> tuple[Any, Any]:
    from echofusion_cases import build, make_batch

    return build(), make_batch(2)


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    torch.compiler.reset()
    yield
    torch.compiler.reset()


def loss(model: Any, batch: Any) -> Tensor:
    return torch.stack(list(model.losses(model(batch), batch).values())).sum()


def gradients(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.slow
@pytest.mark.parametrize("make", [bevdepth, bevformer, echofusion])
def test_every_named_part_is_one_graph_and_its_gradients_keep_their_bits(make: Any) -> None:
    found = []
    for compiled in (False, True):
        torch.manual_seed(0)
        model, batch = make()
        assert compiled_parts(model) == list(model.compiled_parts)
        for name in model.compiled_parts if compiled else ():
            model.get_submodule(name).compile(dynamic=False, fullgraph=True, backend="aot_eager")
        loss(model.train(), batch).backward()
        found.append(gradients(model))
    assert found[0] and all(torch.equal(value, found[1][name]) for name, value in found[0].items())


def losses_of(make: Any, way: str, parts: tuple[str, ...], *, moved: bool = False) -> list[float]:
    """Of three steps; with weights that are each moved by one unit in the last place."""
    torch.manual_seed(0)
    model, batch = make()
    prepare_dropout(model, 0)
    if moved:
        with torch.no_grad():
            for weight in model.parameters():
                weight.copy_(torch.nextafter(weight, torch.full_like(weight, torch.inf)))
    model.compiled_parts, keys = parts, list(model.state_dict())
    notes = CpuBackend().prepare_model(model.train(), ComputeSection.model_validate({"compile": way}))
    assert way == "off" or "are compiled" in notes[0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    values = []
    for step in range(3):
        set_dropout_step(model, step)
        total = loss(model, batch)
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        values.append(float(total.detach()))
    assert list(model.state_dict()) == keys
    return values


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="no C++ compiler")
@pytest.mark.parametrize(
    ("make", "parts"),
    [(bevdepth, ("backbone.img_neck", "head.shared_conv")), (bevformer, ("img_neck",))],
    ids=["bevdepth", "bevformer"],
)
def test_losses_with_compiled_parts_stay_as_near_as_a_unit_in_the_last_place_takes_them(
    make: Any, parts: tuple[str, ...]
) -> None:
    plain, moved = losses_of(make, "off", parts), losses_of(make, "off", parts, moved=True)
    compiled = losses_of(make, "parts", parts)
    band = 10 * max(abs(a - b) / abs(a) for a, b in zip(plain, moved, strict=True))
    assert 0 < band < 1e-3
    assert max(abs(a - b) / abs(a) for a, b in zip(plain, compiled, strict=True)) <= band
