"""A step of each model waits for the device where it must and nowhere else: here a new wait turns red."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.models import Batch, DetectionModel
from portbev.nn.dropout import prepare_dropout
from portbev.train.ema import Ema
from portbev.train.optim import build_optimizer
from portbev.train.parts import Parts
from portbev.train.splits import Splits
from portbev.train.step import OptimizerStep
from portbev_emulated.waits import Wait, listed, watched

FAMILIES = Path(__file__).parents[2] / "plugins"
sys.path[:0] = [str(FAMILIES / family) for family in ("bevdepth", "bevformer", "echofusion")]


def bevdepth(**changes: Any) -> tuple[DetectionModel, Batch]:
    from bevdepth_cases import make_batch, small

    from portbev_bevdepth.model import BEVDepth

    config = small(**changes)
    return BEVDepth(config), make_batch(config)


def bevformer(**changes: Any) -> tuple[DetectionModel, Batch]:
    from bevformer_cases import build, make_batch

    return build(dropout=0.1, **changes), make_batch(2, 3)


def echofusion(**changes: Any) -> tuple[DetectionModel, Batch]:
    from echofusion_cases import build, make_batch

    return build(dropout=0.1, **changes), make_batch(2)


def step_of(npu: Backend, model: DetectionModel, data: dict[str, Any], **compute: Any) -> OptimizerStep:
    config = RunConfig.model_validate(
        {"name": "waits", "model": {"family": "none"}, "data": data, "compute": compute, "train": {"accumulate": 2}}
    )
    prepare_dropout(model, 0)
    model.to(npu.device())
    absent: Any = None
    parts = Parts(
        config=config,
        backend=npu,
        comm=Comm(),
        device=npu.device(),
        data=Splits(absent, absent, steps_per_epoch=1, source=None),
        model=model,
        wrapped=model,
        optimizer=build_optimizer(config.optimizer, model.named_parameters(), 1e-4),
        scaler=npu.grad_scaler(config.compute.amp),
        ema=Ema(model, config.train.ema, 0),
        lr=1e-4,
        writer=absent,
        checkpoints=absent,
    )
    return OptimizerStep(parts, lambda: False)


def waits_of_a_step(npu: Backend, model: DetectionModel, batch: Batch, **compute: Any) -> list[Wait]:
    """Those of the second step, whose two batches the loader's workers prepared."""
    stepping = step_of(npu, model, {"kind": "none"}, **compute)
    prepare = model.preparation(training=True)
    if prepare is not None:
        batch["prepared"] = prepare(batch)
    stepping.take([batch, batch], 0)
    with watched() as found:
        stepping.take([batch, batch], 1)
    return found


MATCHING = "portbev/nn/detr_losses.py"
READING = "portbev/train/step.py"


@pytest.mark.parametrize(
    ("make", "changes", "expected"),
    [
        (bevdepth, {}, {READING: 1}),
        (bevdepth, {"variant": "matrixvt"}, {READING: 1}),
        (bevformer, {}, {READING: 1, MATCHING: 2}),  # of each batch all layers at once
        (bevformer, {"quirks": "official"}, {READING: 1, MATCHING: 2}),
        (echofusion, {}, {READING: 1, MATCHING: 2}),
    ],
    ids=["bevdepth", "matrixvt", "bevformer", "bevformer official", "echofusion"],
)
def test_a_training_step_waits_once_and_once_for_each_matching(
    npu: Backend, make: Any, changes: dict[str, Any], expected: dict[str, int]
) -> None:
    found = waits_of_a_step(npu, *make(**changes))
    assert count(found) == expected, listed(found)


def count(found: list[Wait]) -> dict[str, int]:
    """Waits by the file that waits, but for the reference kernel of the pooling, which finds out what lies inside."""
    places = [wait.place.split(":")[0] for wait in found]
    return {place: places.count(place) for place in places if not place.startswith("portbev/ops/reference/")}


def test_each_kind_of_wait_is_seen(npu: Backend) -> None:
    def lines(work: Any) -> list[str]:
        with watched() as found:
            work()
        return [wait.kind for wait in found]

    x, host = torch.arange(4.0).to("npu"), torch.arange(4.0)
    assert lines(lambda: x.sum().item()) == ["read"]
    assert lines(lambda: bool((x > 1).any())) == ["read"]
    assert lines(x.cpu) == ["read"]
    assert lines(x.tolist)[:1] == ["read"]
    assert "size" in lines(x.nonzero)
    assert "size" in lines(lambda: x[x > 1])
    assert lines(lambda: torch.tensor([1.0, 2.0], device="npu")) == ["send"]
    assert lines(lambda: host.to("npu")) == ["send"]
    assert "send" in lines(lambda: x[torch.tensor([0, 1])])
    assert lines(lambda: (host.to("npu", non_blocking=True), x + 1, x.clone(), torch.zeros(3, device="npu"))) == []


def test_waits_in_a_backward_pass_are_seen(npu: Backend) -> None:
    class Looks(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 1

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * float(grad.sum())

    x = torch.ones(2, device="npu", requires_grad=True)
    with watched() as found:
        Looks.apply(x).sum().backward()
    assert [wait.kind for wait in found] == ["read"]
