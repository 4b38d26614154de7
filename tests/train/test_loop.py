"""The loop: accumulation, clipping, mixed precision, evaluation, the record."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from portbev.config import Meaning, RunConfig
from portbev.errors import PortbevError
from portbev.runs import Run, load_run
from portbev.runs.checkpoint import load_checkpoint
from portbev.train import train

Toy = Callable[..., RunConfig]


def weights(run: Run, name: str = "model") -> dict[str, torch.Tensor]:
    saved = run.checkpoints
    return load_file(saved.path(saved.steps()[-1]) / f"{name}.safetensors")


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def losses(run: Run) -> list[dict[str, float]]:
    return [row.losses for row in run.scalars()]


def test_a_run_leaves_its_whole_directory(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    run = train(toy(), backend="cpu", data_root=tiny_root, out=tmp_path / "run")
    assert run.status == "finished"
    record = run.record
    assert record.schema_ == "portbev.run/2" and record.progress.step == record.progress.total_steps == 12
    assert record.training.fps is not None and record.training.fps > 0 and record.training.peak_memory > 0
    assert record.kernels["dropout"].forward["cpu_fast"] >= 12
    assert record.data.train_samples == 12 and len(record.data.digest) == 64 and record.samples_per_step == 2
    assert record.meanings["compute.threads"] is Meaning.HOW and "optimizer.lr" not in record.meanings
    rows = run.scalars()
    assert [row.step for row in rows] == list(range(1, 13))
    assert [row.samples for row in rows] == list(range(2, 26, 2))
    assert all(row.losses["total"] == pytest.approx(row.losses["heat"] + row.losses["small"]) for row in rows)
    metrics = run.metrics
    assert metrics is not None and metrics.samples == 4 and metrics.weights == "ema" and metrics.step == 12
    assert metrics.content["inference"]["fps"] > 0 and "batch 1" in metrics.content["inference"]["method"]
    assert list(json.loads(run.predictions.read_text())["results"])
    assert load_run(tmp_path / "run").record == record


def test_same_seed_same_bits_whatever_the_workers_and_another_seed_differs(
    toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    changes = [{}, {"data__workers": 2}, {"train__seed": 1}]
    runs = [
        train(toy(train__epochs=1, **c), backend="cpu", data_root=tiny_root, out=tmp_path / str(i))
        for i, c in enumerate(changes)
    ]
    first, second, third = runs
    assert same(weights(first), weights(second)) and same(weights(first, "ema"), weights(second, "ema"))
    assert losses(first) == losses(second)
    assert first.predictions.read_bytes() == second.predictions.read_bytes()
    assert losses(first) != losses(third)


def test_accumulation_equals_the_big_batch(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    common = {"model__batchnorm": False, "model__dropout": 0.0, "train__epochs": 1, "optimizer__name": "sgd"}
    big = train(toy(train__batch_size=4, **common), backend="cpu", data_root=tiny_root, out=tmp_path / "big")
    small = train(
        toy(train__batch_size=2, train__accumulate=2, **common),
        backend="cpu",
        data_root=tiny_root,
        out=tmp_path / "small",
    )
    assert big.record.progress.step == small.record.progress.step == 3
    assert [r.samples for r in big.scalars()] == [r.samples for r in small.scalars()]
    for a, b in zip(losses(big), losses(small), strict=True):
        assert a == pytest.approx(b, rel=1e-5)
    for key, value in weights(big).items():
        torch.testing.assert_close(value, weights(small)[key], rtol=1e-4, atol=1e-6)


def test_an_epoch_too_small_for_one_accumulated_step_is_an_error(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    with pytest.raises(PortbevError, match=r"train\.accumulate"):
        train(toy(train__accumulate=7), backend="cpu", data_root=tiny_root, out=tmp_path)


def test_clipping_limits_the_update_and_the_record_keeps_the_norm_before(
    toy: Toy, tiny_root: Path, tmp_path: Path
) -> None:
    limit, lr = 1e-3, 1.0
    common = {"optimizer__name": "sgd", "optimizer__lr": lr, "optimizer__momentum": 0.0, "train__max_steps": 1}
    common["optimizer__weight_decay"] = 0.0
    clipped = train(
        toy(train__clip_grad_norm=limit, train__ema__enabled=False, **common),
        backend="cpu",
        data_root=tiny_root,
        out=tmp_path / "clipped",
    )
    free = train(
        toy(train__clip_grad_norm=None, train__ema__enabled=False, **common),
        backend="cpu",
        data_root=tiny_root,
        out=tmp_path / "free",
    )
    norm = free.scalars()[0].grad_norm
    assert clipped.scalars()[0].grad_norm == norm > limit
    # with plain SGD the weights moved by lr * gradient: the two runs differ by the clipped share of it
    gap = [
        (weights(clipped)[k] - weights(free)[k]).double()
        for k in weights(free)
        if "running" not in k and "num_" not in k
    ]
    moved = torch.sqrt(sum((g**2).sum() for g in gap))  # type: ignore[arg-type]
    assert float(moved) == pytest.approx(lr * (norm - limit), rel=1e-3)


@pytest.mark.parametrize(("scale", "after"), [("dynamic", 32768.0), (512, 512.0)])
def test_an_fp16_overflow_leaves_the_step_out_and_only_a_dynamic_scale_falls(
    toy: Toy, tiny_root: Path, tmp_path: Path, scale: Any, after: float
) -> None:
    settings = toy(train__max_steps=2, compute__amp="fp16", compute__loss_scale=scale, model__overflow_at_forward=1)
    run = train(settings, backend="cpu", data_root=tiny_root, out=tmp_path / "run")
    assert run.record.progress.skipped_steps == 1
    saved = load_checkpoint(run.checkpoints.path(2))
    assert saved.state["scaler"]["scale"] == after


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_trains(toy: Toy, tiny_root: Path, tmp_path: Path, amp: str) -> None:
    plain = train(toy(train__epochs=1), backend="cpu", data_root=tiny_root, out=tmp_path / "plain")
    mixed = train(toy(train__epochs=1, compute__amp=amp), backend="cpu", data_root=tiny_root, out=tmp_path / amp)
    assert mixed.status == "finished" and mixed.record.amp == amp
    assert losses(mixed) != losses(plain)
    assert losses(mixed)[0]["total"] == pytest.approx(losses(plain)[0]["total"], rel=0.02)


def test_periodic_evaluation_is_recorded_and_marks_the_best(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    config = toy(train__epochs=3, train__eval_every=1, data__eval_stride=2, train__checkpoint={"keep": 1})
    run = train(config, backend="cpu", data_root=tiny_root, out=tmp_path)
    found = run.record.evaluations
    assert [e.step for e in found] == [6, 12, 18]
    assert [e.samples for e in found] == [2, 2, 4]
    best = run.checkpoints.best()
    assert best is not None
    top = max(found, key=lambda e: e.figures["nd_score"] or 0.0)
    assert best.value == top.figures["nd_score"]
    assert run.checkpoints.steps() == sorted({best.step, 18})


def test_evaluating_does_not_change_what_is_learned(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    plain = train(toy(), backend="cpu", data_root=tiny_root, out=tmp_path / "plain")
    watched = train(toy(train__eval_every=1), backend="cpu", data_root=tiny_root, out=tmp_path / "watched")
    assert same(weights(plain), weights(watched))


def test_an_output_that_holds_a_run_is_refused_and_left_alone(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    train(toy(train__max_steps=1), backend="cpu", data_root=tiny_root, out=tmp_path)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(PortbevError, match=r"holds a run already.*--resume"):
        train(toy(), backend="cpu", data_root=tiny_root, out=tmp_path)
    assert (tmp_path / "run.json").read_bytes() == before


def test_tensorboard_writes_events(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    train(toy(train__max_steps=2, train__tensorboard=True), backend="cpu", data_root=tiny_root, out=tmp_path)
    assert any((tmp_path / "tensorboard").iterdir())


def test_initial_weights_come_from_another_run(toy: Toy, tiny_root: Path, tmp_path: Path) -> None:
    first = train(toy(train__max_steps=3), backend="cpu", data_root=tiny_root, out=tmp_path / "a")
    second = train(
        toy(train__max_steps=1, optimizer__lr=1e-12),
        backend="cpu",
        data_root=tiny_root,
        out=tmp_path / "b",
        init=tmp_path / "a",
    )
    assert any("started from the ema weights" in note for note in second.record.notes)
    torch.testing.assert_close(weights(second)["head.weight"], weights(first, "ema")["head.weight"])
