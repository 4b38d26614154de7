"""The content of run directories made by hand."""

from __future__ import annotations

import copy
from typing import Any

CLASSES = (
    "car", "truck", "bus", "trailer", "construction_vehicle",
    "pedestrian", "motorcycle", "bicycle", "traffic_cone", "barrier",
)  # fmt: skip

RUN: dict[str, Any] = {
    "schema": "portbev.run/1",
    "name": "bevdepth-laptop",
    "status": "finished",
    "created": "2026-11-21T04:00:00Z",
    "finished": "2026-11-21T04:10:00Z",
    "portbev": "0.1.0",
    "command": ["portbev", "train", "laptop.yaml"],
    "config": {
        "name": "bevdepth-laptop",
        "model": {"family": "bevdepth"},
        "optimizer": {"lr": 0.0002},
        "data": {"root": "d", "image": {"final_size": [128, 352]}},
    },
    "config_digest": "c" * 64,
    "model": {"family": "bevdepth", "parameters": 1_234_567},
    "seed": 0,
    "backend": {
        "name": "cpu",
        "label": "cpu",
        "device_type": "cpu",
        "emulated": False,
        "collective": "gloo",
        "device_name": "Some CPU",
        "world_size": 1,
    },
    "environment": {"python": "3.11.2", "torch": "2.13.0"},
    "precision": "highest",
    "amp": "none",
    "deterministic": True,
    "kernels": {"voxel_pool": {"forward": {"reference": 60}, "backward": {"reference": 60}, "passed_over": []}},
    "data": {
        "root": "d",
        "version": "v1.0-mini",
        "train_split": "mini_train",
        "eval_split": "mini_val",
        "digest": "d" * 64,
        "train_samples": 40,
        "eval_samples": 8,
        "notes": [],
    },
    "progress": {"step": 60, "epoch": 3, "samples": 120, "total_steps": 60},
    "training": {"fps": 2.5, "step_time_median": 0.8, "peak_memory": 1_500_000_000, "seconds": 60.0},
    "resumed": [],
    "warnings": [],
    "error": None,
}

METRICS: dict[str, Any] = {
    "schema": "portbev.metrics/1",
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
