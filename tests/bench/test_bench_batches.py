"""Batches of noise are what the models take: losses are finite, and inference goes on from frame to frame."""

from __future__ import annotations

import math

import pytest
import torch

from portbev.bench import step
from portbev.bench.models import batches_of
from portbev.config import load_config
from portbev.runtime import activate
from portbev.train.step import OptimizerStep, Outcome


@pytest.mark.parametrize("name", ["bevdepth/tiny_test", "bevformer/tiny_test", "echofusion/tiny_test"])
def test_a_family_s_batches_train_and_are_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[Outcome] = []
    take = OptimizerStep.take

    def kept(self: OptimizerStep, *arguments: object) -> Outcome:
        outcomes.append(take(self, *arguments))  # type: ignore[arg-type]
        return outcomes[-1]

    monkeypatch.setattr(OptimizerStep, "take", kept)
    monkeypatch.setattr(step, "QUICK", step.Effort(steps=1, seconds=0.0))
    backend, config = activate("cpu"), load_config(name)
    trained = step.measure(backend, config, "train", quick=True)
    assert outcomes and all(math.isfinite(value) for one in outcomes for value in one.losses.values())
    assert outcomes[-1].losses["total"] != outcomes[0].losses["total"]  # the weights have moved
    assert trained["seconds"] > 0
    assert step.measure(backend, config, "eval", quick=True)["seconds"] > 0


def test_batches_have_the_sizes_of_the_configuration() -> None:
    config = load_config("bevformer/laptop")
    (batch,) = batches_of(config, "train")
    assert batch["images"].shape == (1, 2, 6, 3, 160, 256)  # type: ignore[typeddict-item]
    first, following = batches_of(config, "eval")
    assert first["previous"] == [""] and following["previous"] == first["tokens"]  # type: ignore[typeddict-item]
    many = batches_of(load_config("bevdepth/laptop", ["train.batch_size=3"]), "train")[0]
    assert many["images"].shape == (3, 1, 6, 3, 64, 192)  # type: ignore[typeddict-item]
    radar = batches_of(load_config("echofusion/laptop"), "eval")[0]
    assert radar["radar"].dtype == torch.int16 and len(radar["tokens"]) == 1  # type: ignore[typeddict-item]
