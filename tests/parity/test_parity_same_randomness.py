"""The same randomness everywhere: a draw does not depend on who takes it, in how many parts, or from where on.

A draw is an initial weight, what the augmentation of a sample draws, or a mask of dropout in a training step.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from portbev.config import RunConfig, load_config
from portbev.data import Dataset, build_dataset, open_root
from portbev.data.loader import build_loader
from portbev.models import DetectionModel, build_model, move_batch
from portbev.nn.dropout import Dropout, prepare_dropout, set_dropout_step
from portbev.plugins import plugins
from portbev.runtime import activate

CONFIGS = ("bevdepth/tiny_test", "bevformer/tiny_test", "echofusion/tiny_test")
SETTINGS = {"echofusion/tiny_test": ["model.image_neck.chunk=24"]}  # parts that do not end where a sample does

Masks = dict[str, list[Tensor]]


@lru_cache
def opened(name: str) -> tuple[RunConfig, Dataset]:
    config = load_config(name, SETTINGS.get(name, []))
    return config, build_dataset(config.data, open_root(config.data.root), "train", seed=config.train.seed)


def batch_of(name: str, **how: Any) -> Any:
    config, data = opened(name)
    options = {"batch_size": 2, "workers": 0, "seed": config.train.seed, "epoch": 0, "part": "train", **how}
    return next(iter(build_loader(data, **options)))


def built(name: str) -> DetectionModel:
    config, _ = opened(name)
    torch.manual_seed(config.train.seed)
    model = build_model(plugins().models()[config.model.family], config.model)
    prepare_dropout(model, config.train.seed)
    return model.train()


def masks_of(model: DetectionModel, batch: Any, device: torch.device | None = None) -> Masks:
    """What each layer of dropout keeps in a forward pass, call by call."""
    found: Masks = defaultdict(list)

    def note(name: str) -> Any:
        def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if module.training and module.p:
                found[name].append((module.forward(torch.ones_like(inputs[0])) != 0).cpu())

        return hook

    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, Dropout)]
    handles = [module.register_forward_hook(note(name)) for name, module in layers]
    with torch.no_grad():
        model(move_batch(batch, device or torch.device("cpu")))
    for handle in handles:
        handle.remove()
    assert found, "no dropout was drawn"
    return found


def equal(one: Masks, other: Masks) -> bool:
    return one.keys() == other.keys() and all(
        len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))
        for ours, theirs in zip(one.values(), other.values(), strict=True)
    )


def joined(ranks: Sequence[Masks]) -> Masks:
    """The masks of the whole batch from those of its parts."""
    return {name: [torch.cat(calls) for calls in zip(*(r[name] for r in ranks), strict=True)] for name in ranks[0]}


def undivided(masks: Masks) -> Masks:
    """A layer's calls as one."""
    return {name: [torch.cat(calls)] for name, calls in masks.items()}


def flat(value: Any) -> list[Any]:
    """The tensors and arrays of a batch, in order, as bytes."""
    if isinstance(value, Mapping):
        return [x for key in sorted(value) for x in flat(value[key])]
    if isinstance(value, (list, tuple)):
        return [x for one in value for x in flat(one)]
    if isinstance(value, Tensor):
        value = value.numpy()
    return [(value.shape, value.tobytes())] if isinstance(value, np.ndarray) else [repr(value)]


@pytest.mark.parametrize("name", CONFIGS)
def test_dropout_is_the_same_for_one_rank_and_for_two_that_share_the_batch(name: str) -> None:
    model = built(name)
    set_dropout_step(model, 3)
    whole = masks_of(model, batch_of(name))
    ranks = []
    for rank in range(2):
        set_dropout_step(model, 3, rank)
        ranks.append(masks_of(model, batch_of(name, batch_size=1, rank=rank, world_size=2)))
    if name.startswith("echofusion"):  # calls are parts of a batch, and two ranks have other parts
        whole, ranks = undivided(whole), [undivided(rank) for rank in ranks]
    assert equal(joined(ranks), whole)
    assert not equal(ranks[0], ranks[1])


@pytest.mark.parametrize("name", CONFIGS)
def test_what_samples_draw_depends_on_neither_workers_nor_ranks(name: str) -> None:
    batch = batch_of(name)
    assert flat(batch_of(name, workers=1)) == flat(batch)
    tokens = [batch_of(name, batch_size=1, rank=rank, world_size=2)["tokens"] for rank in range(2)]
    assert [token for rank in tokens for token in rank] == batch["tokens"]


@pytest.mark.parametrize("name", CONFIGS)
def test_dropout_owes_nothing_to_earlier_steps_so_that_a_resumed_run_draws_the_same(name: str) -> None:
    batch, model = batch_of(name), built(name)
    for step in range(3):
        set_dropout_step(model, step)
        last = masks_of(model, batch)
    resumed = built(name)
    torch.manual_seed(99)
    set_dropout_step(resumed, 2)
    assert equal(masks_of(resumed, batch), last)
    set_dropout_step(resumed, 1)
    assert not equal(masks_of(resumed, batch), last)


def test_every_provider_of_dropout_draws_the_same_mask() -> None:
    model, found = built(CONFIGS[1]), []
    for provider in ("cpu_fast", "reference"):
        activate("cpu", kernels={"dropout": provider})
        found.append(masks_of(model, batch_of(CONFIGS[1])))
    activate("cpu")
    assert equal(*found)


def digest(*, emulate: bool) -> str:
    """Of the initial weights and the masks of the first batch, on the emulated npu or on the CPU."""
    backend = activate("npu" if emulate else "cpu", emulate=emulate)
    total = hashlib.sha256()
    for name in CONFIGS[1:2]:
        model = built(name)
        for key, value in model.state_dict().items():
            total.update(key.encode() + value.numpy().tobytes())
        for key, calls in masks_of(model.to(backend.device()), batch_of(name), backend.device()).items():
            total.update(key.encode() + b"".join(call.numpy().tobytes() for call in calls))
    return total.hexdigest()


def test_weights_and_dropout_are_those_of_the_cpu_on_the_emulated_npu() -> None:
    code = "from test_parity_same_randomness import digest; print(digest(emulate=True))"
    here = os.path.dirname(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == digest(emulate=False)
