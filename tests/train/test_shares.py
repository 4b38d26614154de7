"""A batch that is shared out over fewer processes than it has parts: the same samples, and the same gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from portbev.backend import Backend
from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.data.loader import batch_indices
from portbev.errors import BackendError
from portbev.models import DetectionModel
from portbev.nn.dropout import Dropout, prepare_dropout, set_dropout_step
from portbev.rng import key_of
from portbev.runs.scalars import Row
from portbev.train.optim import build_optimizer
from portbev.train.parts import Parts
from portbev.train.retaken import Retaken
from portbev.train.shares import Shares, divided
from portbev.train.step import OptimizerStep, Watcher
from portbev_cpu.backend import CpuBackend


def comm_of(rank: int, size: int) -> Comm:
    comm = Comm()
    comm.rank, comm.size = rank, size
    return comm


@settings(max_examples=200, deadline=None)
@given(parts=st.integers(1, 8), batch=st.integers(1, 4), size=st.integers(1, 16), seed=st.integers(0, 3))
def test_each_step_has_the_samples_it_had_and_each_part_is_taken_once(
    parts: int, batch: int, size: int, seed: int
) -> None:
    samples = parts * batch
    if size > samples:
        with pytest.raises(
            BackendError, match=f"batch of {samples} samples cannot be shared out over {size} processes"
        ):
            divided(samples, parts, comm_of(0, size), whole=False)
        return
    shares = [divided(samples, parts, comm_of(rank, size), whole=False) for rank in range(size)]
    assert [part for share in shares for part in share.mine] == list(range(shares[0].parts))
    assert all(share.mine for share in shares), "no process is idle"
    assert {share.samples for share in shares} == {samples}
    assert (shares[0].parts == parts) == (size <= parts)
    how: Any = {"seed": seed, "epoch": 1, "part": "train"}

    def steps(count: int, size_of_part: int) -> list[list[int]]:
        ranks = [batch_indices(40, batch_size=size_of_part, rank=r, world_size=count, **how) for r in range(count)]
        return [[index for part in together for index in part] for together in zip(*ranks, strict=True)]

    assert steps(shares[0].parts, shares[0].batch_size) == steps(parts, batch)


def test_synchronised_statistics_take_equal_parts() -> None:
    assert divided(8, 4, comm_of(1, 2), whole=True) == Shares(2, 4, (1,), 2)
    with pytest.raises(BackendError, match=r"sync_batchnorm.*Start 1, 2, 4, 8 processes"):
        divided(8, 4, comm_of(0, 3), whole=True)


class Normalised(DetectionModel):
    """Has all that a part must keep to itself: batch statistics, masks, draws of torch, and averaged normalisers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.drop = nn.Linear(3, 8), nn.BatchNorm1d(8), Dropout(0.3)
        self.torchs, self.last = nn.Dropout(0.3), nn.Linear(8, 2)

    def forward(self, batch: Any) -> Tensor:
        with torch.no_grad():  # an earlier frame, seen with the running statistics
            past = self.norm.eval()(self.first(batch["x"] - 1))
        self.norm.train()
        return self.last(self.torchs(self.drop(self.norm(self.first(batch["x"])).relu() + past)))

    def losses(self, outputs: Tensor, batch: Any, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        count, other = float((batch["x"] > 0).sum()), float(len(batch["x"]) + batch["x"].abs().sum())
        if mean_over_ranks is not None:
            count = mean_over_ranks(count)
            (other,) = mean_over_ranks.vector([other])
        own = (batch["x"] > 0.5).sum().clamp(min=1)  # of the part alone
        return {"a": outputs[:, 0].square().sum() / count, "b": (outputs[:, 1] - 1).abs().sum() / other / own}

    def decode(self, outputs: Tensor, batch: Any) -> list[Any]:
        return []


class Kept(Watcher):
    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def gradients(self) -> None:
        self.found = [weight.grad.clone() for weight in self.model.parameters() if weight.grad is not None]


def parts_with(model: DetectionModel, shares: Shares, accumulate: int) -> Parts:
    backend: Backend = CpuBackend()
    config = RunConfig.model_validate(
        {"name": "shares", "model": {"family": "none"}, "data": {"kind": "nuscenes"},
         "train": {"accumulate": accumulate, "clip_grad_norm": None}}
    )  # fmt: skip
    absent: Any = None
    data: Any = type("Data", (), {"steps_per_epoch": 1})()
    return Parts(
        config=config,
        backend=backend,
        comm=Comm(),
        device=torch.device("cpu"),
        data=data,
        model=model,
        wrapped=model,
        optimizer=build_optimizer(config.optimizer, model.named_parameters(), 1e-4),
        scaler=backend.grad_scaler("none"),
        ema=None,
        lr=1e-4,
        writer=absent,
        checkpoints=absent,
        given_shares=shares,
    )


@pytest.mark.parametrize(("count", "accumulate"), [(2, 1), (3, 2)])
def test_one_process_computes_what_a_process_for_each_part_would(count: int, accumulate: int) -> None:
    torch.manual_seed(0)
    model = Normalised()
    prepare_dropout(model, 0)
    batches: list[Any] = [{"x": torch.randn(4, 3), "tokens": []} for _ in range(count * accumulate)]
    before = {key: value.clone() for key, value in model.state_dict().items()}

    # by hand: what DDP's processes compute, each on its own copy, and the mean of their gradients
    expected = [torch.zeros_like(weight) for weight in model.parameters()]
    counts = [float((b["x"] > 0).sum()) for b in batches]
    others = [float(4 + b["x"].abs().sum()) for b in batches]
    statistics: dict[str, Tensor] = {}
    total = 0.0
    for part in range(count):
        model.load_state_dict(before)
        for micro in range(accumulate):
            together = slice(micro * count, (micro + 1) * count)
            means = iter([torch.tensor(sum(v[together])) / count for v in (counts, others)])

            class Means:
                def __init__(self, answers: Any) -> None:
                    self.answers = answers

                def vector(self, values: Any) -> list[float]:
                    return [float(next(self.answers))]

                def __call__(self, value: float) -> float:
                    return self.vector([value])[0]

            key = ("step", 5, part) if micro == 0 else ("step", 5, part, micro)
            torch.manual_seed(key_of(0, *key) % 2**63)
            set_dropout_step(model, 5 * accumulate + micro, part)
            batch = batches[micro * count + part]
            losses = model.losses(model(batch), batch, mean_over_ranks=Means(means))
            loss = torch.stack(list(losses.values())).sum() / (accumulate * count)
            total += float(loss.detach())
            gradients = torch.autograd.grad(loss, list(model.parameters()))
            expected = [sum_ + gradient for sum_, gradient in zip(expected, gradients, strict=True)]
        if part == 0:
            statistics = {key: value.clone() for key, value in model.state_dict().items() if "running" in key}
    model.load_state_dict(before)

    parts = parts_with(model, Shares(count, 4, tuple(range(count)), 1), accumulate)
    kept = Kept(model)
    outcome = OptimizerStep(parts, lambda: False, kept).take(batches, 5)
    for found, wanted in zip(kept.found, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)
    assert outcome.losses["total"] == pytest.approx(total, rel=1e-5)
    for key, value in statistics.items():
        torch.testing.assert_close(model.state_dict()[key], value, rtol=0, atol=0)


def row(step: int, loss: float, norm: float = 1.0) -> Row:
    return Row(
        step=step, epoch=0, samples=step, losses={"total": loss}, grad_norm=norm, lr=0.1, step_time=1, data_time=0
    )


def test_steps_that_are_taken_again_are_compared_once_and_told_in_a_line() -> None:
    retaken = Retaken([row(1, 5.0), row(2, 4.0), row(3, 2.0, 10.0)], 1, before=4, processes=2)
    assert retaken.waits and not retaken.add(row(2, 4.0))
    assert retaken.add(row(3, 2.0002, 10.0)) and not retaken.add(row(4, 1.0))
    assert retaken.found.steps == 2 and retaken.found.loss == pytest.approx(1e-4)
    assert str(retaken) == (
        "steps 2 to 3 by 2 processes differ from those by 4 by at most 1.0e-04 of the loss and 0.0e+00 of the "
        "gradient's norm"
    )
    assert not Retaken([row(1, 5.0)], 1, before=2, processes=1).waits
