"""The content of run directories made by hand."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from portbev.config import load_config
from portbev.testing.runs import make_record

CONFIG = "bevdepth/tiny_test"

CLASSES = (
    "car", "truck", "bus", "trailer", "construction_vehicle",
    "pedestrian", "motorcycle", "bicycle", "traffic_cone", "barrier",
)  # fmt: skip


def record(*overrides: str, **changes: Any) -> dict[str, Any]:
    """``run.json`` of a finished run of 60 steps; ``overrides`` are settings of its configuration."""
    sections: dict[str, Any] = {
        "model": {"parameters": 1_234_567},
        "backend": {"device_name": "Some CPU"},
        "environment": {"python": "3.11.2", "torch": "2.13.0"},
        "kernels": {"voxel_pool": {"forward": {"reference": 60}, "backward": {"reference": 60}, "passed_over": []}},
        "data": {
            "root": "d", "source": "d", "version": "v1.0-mini", "benchmark": "nuscenes",
            "train_split": "mini_train", "eval_split": "mini_val", "train_samples": 40, "eval_samples": 8,
        },
        "progress": {"step": 60, "epoch": 3, "samples": 120, "total_steps": 60},
        "training": {"fps": 2.5, "step_time_median": 0.8, "peak_memory": 1_500_000_000, "seconds": 60.0},
    }  # fmt: skip
    return merged(make_record(load_config(CONFIG, ["name=handmade", *overrides]), **sections), changes)


METRICS: dict[str, Any] = {
    "schema": "portbev.metrics/1",
    "benchmark": "nuscenes",
    "mean_ap": 0.25,
    "nd_score": 0.31,
    "tp_errors": {"trans_err": 0.7, "scale_err": 0.3, "orient_err": 0.6, "vel_err": 0.9, "attr_err": 0.2},
    "label_aps": {},
    "mean_dist_aps": {name: 0.05 * place for place, name in enumerate(CLASSES)},
    "label_tp_errors": {},
    "inference": {"fps": 4.0, "peak_memory": 900_000_000},
    "samples": 8,
    "step": 60,
    "weights": "ema",
    "split": "mini_val",
}

NPU = {
    "backend": {"name": "npu", "label": "npu (emulated)", "device_type": "npu", "emulated": True, "device_name": "A"},
    "environment": {"torch_npu": "2.9.0"},
    "kernels": {
        "voxel_pool": {
            "forward": {"mx_driving": 60},
            "backward": {"mx_driving": 60},
            "passed_over": [{"provider": "torch_npu", "reason": "forward: C=80 exceeds 64", "times": 60}],
        }
    },
}  # fmt: skip


def losses(step: int) -> dict[str, float]:
    return {"total": 3.0 / (step + 1) + 0.1, "depth": 2.0 / (step + 1), "heatmap": 1.0 / (step + 1) + 0.1}


def merged(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    result = copy.deepcopy(base)
    for key, value in top.items():
        inner = result.get(key)
        deep = isinstance(value, dict) and isinstance(inner, dict) and key != "kernels"
        result[key] = merged(inner, value) if deep else value
    return result


def make(
    folder: Path,
    meta: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
    curve: Callable[[int], dict[str, float]] = losses,
    steps: int = 60,
    evaluated: bool = True,
    sets: Sequence[str] = (),
) -> Path:
    """A run directory: its record with ``meta`` and settings, ``curve`` of the step as losses, ``metrics``."""
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(record(*sets, **(meta or {}))))
    times = {"lr": 1e-4, "grad_norm": 1.0, "step_time": 0.8, "data_time": 0.1}
    rows = [{"step": s, "epoch": 0, "samples": 2 * s, "losses": curve(s), **times} for s in range(1, steps + 1)]
    (folder / "scalars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if evaluated:
        (folder / "metrics.json").write_text(json.dumps(merged(METRICS, metrics or {})))
    return folder
