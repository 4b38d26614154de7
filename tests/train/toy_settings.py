"""Configurations of the toy model."""

from __future__ import annotations

from typing import Any


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
        "compute": {"threads": 1},
        "train": {
            "epochs": 2,
            "batch_size": 2,
            "log_every": 100,
            "ema": {"ramp": 10, "start_updates": 0},
        },
    }
    for path, value in changes.items():
        place = settings
        *folders, leaf = path.split("__")
        for folder in folders:
            place = place.setdefault(folder, {})
        place[leaf] = value
    return settings
