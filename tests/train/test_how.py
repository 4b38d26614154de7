"""Pinned memory and the fused update: what is on, what cannot be, and that it is said."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from portbev.backend import Backend
from portbev.config import RunConfig
from portbev.config.schema import ComputeSection, OptimizerSection
from portbev.train import how
from portbev.train.optim import build_optimizer
from portbev_cpu.backend import CpuBackend
from portbev_npu.backend import NpuBackend
from portbev_torch_cuda.backend import GpuBackend

CPU = torch.device("cpu")


def config(**compute: object) -> RunConfig:
    return RunConfig.model_validate(
        {"name": "how", "model": {"family": "none"}, "data": {"kind": "none"}, "compute": compute}
    )


@pytest.mark.parametrize(
    ("backend", "setting", "pinned", "said"),
    [
        (CpuBackend(), "auto", False, ""),
        (GpuBackend(), "auto", True, "batches are loaded into pinned memory"),
        (GpuBackend(), "off", False, ""),
        (NpuBackend(), "auto", True, "batches are loaded into pinned memory"),
        (NpuBackend().as_emulated(), "auto", False, "batches are not pinned"),
    ],
    ids=["cpu", "cuda", "cuda off", "npu", "emulated npu"],
)
def test_batches_are_pinned_where_a_device_copies_from_them(
    backend: Backend, setting: str, pinned: bool, said: str
) -> None:
    compute = ComputeSection.model_validate({"pin_memory": setting})
    assert backend.pins(compute) == pinned
    notes = how.transfers(backend, compute)
    assert len(notes) == bool(said) and said in "".join(notes)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_the_fused_update_is_the_plain_one_up_to_rounding(name: str) -> None:
    section = OptimizerSection.model_validate({"name": name, "weight_decay": 0.01})
    torch.manual_seed(0)
    plain, fused = nn.Linear(40, 30), nn.Linear(40, 30)
    fused.load_state_dict(plain.state_dict())
    gradient = torch.randn(30, 40)
    for model, way in ((plain, False), (fused, True)):
        optimizer = build_optimizer(section, model.named_parameters(), 1e-2, fused=way)
        for _ in range(5):
            model.weight.grad = gradient.clone()
            optimizer.step()
        assert bool(optimizer.defaults["fused"]) is way
    assert not torch.equal(plain.weight, torch.zeros(30, 40))
    torch.testing.assert_close(fused.weight, plain.weight, rtol=1e-6, atol=1e-7)


def test_the_fused_update_is_said_and_where_there_is_none_the_plain_one_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert how.fused_update(config(), CPU) == (False, [])
    on, (note,) = how.fused_update(config(fused_optimizer=True), CPU)
    assert on and note == "compute.fused_optimizer: adamw updates by torch's fused kernel"

    def none_here(*args: object, **kwargs: object) -> None:
        raise RuntimeError("`fused=True` requires all the params to be on\n supported devices")

    monkeypatch.setattr(torch.optim, "AdamW", none_here)
    on, (note,) = how.fused_update(config(fused_optimizer=True), CPU)
    said = "`fused=True` requires all the params to be on supported devices"
    assert not on and note == f"compute.fused_optimizer: the update is not fused: {said}"


def test_a_state_of_the_fused_update_goes_on_without_it() -> None:
    section = OptimizerSection()
    model = nn.Linear(2, 2)
    fused = build_optimizer(section, model.named_parameters(), 1e-2, fused=True)
    model(torch.ones(1, 2)).sum().backward()
    fused.step()
    plain = build_optimizer(section, model.named_parameters(), 1e-2)
    how.take_up(plain, copy.deepcopy(fused.state_dict()))
    assert [(group["foreach"], group["fused"]) for group in plain.param_groups] == [(True, None)]
    plain.step()
