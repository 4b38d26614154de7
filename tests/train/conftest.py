"""A toy model family, a tiny data set, and configurations of both."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev.config import RunConfig, load_config
from portbev.data.synth import SynthOptions, generate
from portbev.plugins import plugins

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toy_family() -> None:
    """The family ``toy`` in this process."""
    sys.path.insert(0, str(HERE))
    import toy_plugin

    found = plugins()
    if not found.manager.is_registered(toy_plugin):
        found.register(toy_plugin, "toy")
        found._cache.pop("portbev_models", None)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 4 validation samples of 160 x 90 pixels."""
    options = SynthOptions(
        scenes=4, val_scenes=1, samples_per_scene=4, image_size=(160, 90), sweeps=0, lidar_beams=4, lidar_steps=32
    )
    return generate(tmp_path_factory.mktemp("data") / "tiny", options)


def toy_settings(**changes: Any) -> dict[str, Any]:
    """A configuration of the toy model; ``changes`` are ``section__key=value``."""
    settings: dict[str, Any] = {
        "name": "toy",
        "model": {"family": "toy"},
        "data": {
            "version": "v1.0-mini",
            "train_split": "synth_train",
            "eval_split": "synth_val",
            "workers": 0,
            "depth_labels": False,
            "image": {"final_size": [32, 64], "source_size": [90, 160], "resize": [0.4, 0.5]},
        },
        "optimizer": {"lr": 0.01, "reference_batch": None},
        "train": {"epochs": 2, "batch_size": 2, "threads": 1, "log_every": 100, "ema": {"ramp": 10, "start_updates": 0}},
    }
    for path, value in changes.items():
        place = settings
        *folders, leaf = path.split("__")
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = value
    return settings


@pytest.fixture
def toy(toy_family: None) -> Callable[..., RunConfig]:
    """Makes a configuration of the toy model."""
    return lambda **changes: load_config(toy_settings(**changes))
