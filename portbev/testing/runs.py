"""Run records made by hand, for tests of what reads run directories."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portbev.config import Meaning, RunConfig, config_digest, dump_config, meanings


def make_record(config: RunConfig, **changes: Any) -> dict[str, Any]:
    """The content of a finished run's ``run.json``.

    Args:
        changes: section -> value, or mapping of what is different in that section:
            ``backend={"name": "npu"}``, ``status="failed"``.
    """
    record: dict[str, Any] = {
        "schema": "portbev.run/2",
        "name": config.name,
        "status": "finished",
        "created": "2026-11-21T04:00:00Z",
        "finished": "2026-11-21T04:10:00Z",
        "portbev": "0.1.0",
        "command": ["portbev", "train"],
        "config": dump_config(config),
        "config_digest": config_digest(config),
        "meanings": {key: mean.value for key, mean in meanings(config).items() if mean is not Meaning.WHAT},
        "samples_per_step": config.train.batch_size * config.train.accumulate,
        "model": {"family": config.model.family, "parameters": 1},
        "seed": config.train.seed,
        "backend": {
            "name": "cpu",
            "label": "cpu",
            "device_type": "cpu",
            "emulated": False,
            "collective": None,
            "device_name": "a CPU",
            "world_size": 1,
        },
        "environment": {},
        "precision": config.compute.precision,
        "amp": config.compute.amp,
        "deterministic": config.compute.deterministic,
        "data": {
            "root": "data",
            "source": "data",
            "version": "1",
            "benchmark": "none",
            "train_split": config.data.train_split,
            "eval_split": config.data.eval_split,
            "digest": "d" * 64,
            "eval_digest": "e" * 64,
            "train_samples": 1,
            "eval_samples": 1,
        },
    }
    return _merged(record, changes)


def write_run(folder: Path, record: Mapping[str, Any]) -> Path:
    """A run directory with that record and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def _merged(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = _merged(result[key], value) if both else value
    return result
