"""Small random evaluation cases as arrays, as a submission file and as tables."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from portbev_nuscenes.classes import ATTRIBUTES, CATEGORY_TO_CLASS, DETECTION_CLASSES
from portbev_nuscenes.metrics import BoxArrays, GroundTruthArrays, PredictionArrays

CATEGORY_OF = {name: category for category, name in CATEGORY_TO_CLASS.items()}


def random_case(
    seed: int,
    samples: int = 4,
    truths: int = 12,
    predictions: int = 40,
    coarse: bool = False,
    stray: bool = False,
    classes: tuple[str, ...] = DETECTION_CLASSES,
) -> tuple[PredictionArrays, GroundTruthArrays]:
    """Predictions scattered around ground truth.

    Args:
        coarse: scores and distances are often equal.
        stray: some predictions look for their match in another sample, or in none.
    """
    rng = np.random.default_rng(seed)
    tokens = tuple(f"sample{index}" for index in rng.permutation(samples))
    ego = rng.normal(0, 200, (samples, 3))
    labels = np.array([DETECTION_CLASSES.index(name) for name in classes])
    truth_sample = np.sort(rng.integers(0, samples, truths))
    truth_place = ego[truth_sample] + rng.normal(0, 18, (truths, 3))
    if coarse:
        truth_place = np.round(ego[truth_sample] + rng.normal(0, 3, (truths, 3)))
    rack_sample = rng.integers(0, samples, samples)
    racks = BoxArrays(
        rack_sample,
        ego[rack_sample] + rng.normal(0, 10, (samples, 3)),
        rng.uniform(5, 20, (samples, 3)),
        rng.normal(0, 2, (samples, 4)),
    )
    truth = GroundTruthArrays(
        tokens,
        ego,
        truth_sample,
        rng.choice(labels, truths),
        truth_place,
        rng.uniform(0.5, 5, (truths, 3)),
        rng.normal(size=(truths, 4)),
        np.where(rng.random((truths, 1)) < 0.2, np.nan, rng.normal(size=(truths, 2))),
        rng.integers(-1, len(ATTRIBUTES), truths),
        rng.integers(0, 6, truths),
        racks,
    )
    of = rng.integers(0, truths, predictions)
    sample, label = truth_sample[of], truth.label[of].copy()
    place = truth_place[of] + rng.normal(0, 1.5, (predictions, 3))
    score = rng.random(predictions)
    if coarse:
        place = truth_place[of] + rng.integers(-2, 3, (predictions, 3))
        score = np.round(score, 1)
    label[rng.random(predictions) < 0.1] = rng.choice(labels)
    order = np.argsort(sample, kind="stable")
    lookup = np.where(rng.random(predictions) < 0.2, rng.integers(-1, samples, predictions), sample[order])
    found = PredictionArrays(
        tokens,
        sample[order],
        label[order],
        score,
        place[order],
        rng.uniform(0.5, 5, (predictions, 3)),
        rng.normal(size=(predictions, 4)),
        rng.normal(size=(predictions, 2)),
        rng.integers(-1, len(ATTRIBUTES), predictions),
        num_pts=rng.integers(-1, 2, predictions),
        lookup_index=lookup if stray else None,
    )
    return found, truth


def box(token: str, **changes: Any) -> dict[str, Any]:
    """A valid box of a submission."""
    return {
        "sample_token": token,
        "translation": [1.0, 2.0, 0.5],
        "size": [1.9, 4.5, 1.6],
        "rotation": [1.0, 0.0, 0.0, 0.0],
        "velocity": [0.5, -0.5],
        "detection_name": "car",
        "detection_score": 0.5,
        "attribute_name": "vehicle.moving",
    } | changes


def write_tables(root: Path, truth: GroundTruthArrays, scenes: dict[str, list[int]] | None = None) -> None:
    """The 13 tables of ``v1.0-mini`` and a map, such that reading them gives ``truth`` (velocities aside).

    Args:
        scenes: scene name -> indices of its samples; one custom scene with all by default. Split ``custom`` has all.
    """
    from PIL import Image

    scenes = scenes or {"scene-a": list(range(len(truth.sample_tokens)))}
    scene_of = {index: name for name, indices in scenes.items() for index in indices}
    tokens = truth.sample_tokens
    samples = range(len(tokens))
    kinds = [*CATEGORY_OF.values(), "static_object.bicycle_rack"]
    names = [CATEGORY_OF[name] for name in DETECTION_CLASSES]
    boxes = [(i, names[truth.label[i]], truth, truth.attribute[i], int(truth.num_pts[i])) for i in range(len(truth))]
    boxes += [(i, "static_object.bicycle_rack", truth.racks, -1, 3) for i in range(len(truth.racks))]
    none = {"prev": "", "next": ""}
    tables: dict[str, Any] = {
        "category": [{"token": name, "name": name, "description": ""} for name in kinds],
        "attribute": [{"token": f"a{i}", "name": name, "description": ""} for i, name in enumerate(ATTRIBUTES)],
        "visibility": [],
        "sensor": [{"token": "lidar", "channel": "LIDAR_TOP", "modality": "lidar"}],
        "calibrated_sensor": [
            {"token": "cs", "sensor_token": "lidar", "translation": [0, 0, 0], "rotation": [1, 0, 0, 0]}
            | {"camera_intrinsic": []}
        ],
        "log": [{"token": "log", "logfile": "", "vehicle": "", "date_captured": "", "location": "boston-seaport"}],
        "map": [{"token": "map", "log_tokens": ["log"], "category": "semantic_prior", "filename": "maps/map.png"}],
        "scene": [
            {"token": name, "name": name, "log_token": "log", "nbr_samples": len(indices), "description": ""}
            | {"first_sample_token": tokens[indices[0]], "last_sample_token": tokens[indices[-1]]}
            for name, indices in scenes.items()
        ],
        "sample": [{"token": tokens[i], "timestamp": 500_000 * i, "scene_token": scene_of[i]} | none for i in samples],
        "sample_data": [
            {"token": f"sd{i}", "sample_token": tokens[i], "ego_pose_token": f"ego{i}", "calibrated_sensor_token": "cs"}
            | {"timestamp": 500_000 * i, "fileformat": "pcd", "is_key_frame": True, "height": 0, "width": 0}
            | {"filename": ""}
            | none
            for i in samples
        ],
        "ego_pose": [
            {"token": f"ego{i}", "timestamp": 0, "rotation": [1, 0, 0, 0]}
            | {"translation": truth.ego_translation[i].tolist()}
            for i in samples
        ],
        "instance": [
            {"token": f"i{number}", "category_token": name, "nbr_annotations": 1}
            | {"first_annotation_token": f"n{number}", "last_annotation_token": f"n{number}"}
            for number, (_, name, *_) in enumerate(boxes)
        ],
        "sample_annotation": [
            {"token": f"n{number}", "sample_token": tokens[part.sample_index[i]], "instance_token": f"i{number}"}
            | {"visibility_token": "", "attribute_tokens": [f"a{attribute}"] if attribute >= 0 else []}
            | {name: getattr(part, name)[i].tolist() for name in ("translation", "size", "rotation")}
            | {"num_lidar_pts": points, "num_radar_pts": 0}
            | none
            for number, (i, _, part, attribute, points) in enumerate(boxes)
        ],
        "splits": {"custom": list(scenes)},
    }
    folder = root / "v1.0-mini"
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    (root / "maps").mkdir(exist_ok=True)
    Image.new("L", (8, 8)).save(root / "maps" / "map.png")
