"""A seeded nuScenes-like evaluation case of any size: the 13 tables, a map, and a submission.

Objects keep still or move in a straight line through the 40 samples of a scene; predictions are scattered around them,
with false ones between. Worlds for training are another matter (``portbev data synth``): this one only has to
have the numbers, the counts and the file sizes of the real validation split.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from portbev.rng import generator
from portbev_nuscenes.classes import (
    ATTRIBUTES,
    BICYCLE_RACK,
    CATEGORY_TO_CLASS,
    CLASS_ATTRIBUTES,
    DETECTION_CLASSES,
    IGNORED_CATEGORIES,
)

SAMPLES_PER_SCENE = 40
OBJECTS = 31
PREDICTIONS = 300
CATEGORY_SHARES = {
    "vehicle.car": 0.42,
    "human.pedestrian.adult": 0.19,
    "movable_object.barrier": 0.12,
    "movable_object.trafficcone": 0.08,
    "vehicle.truck": 0.07,
    "vehicle.trailer": 0.02,
    "vehicle.bus.rigid": 0.02,
    "vehicle.construction": 0.02,
    "vehicle.motorcycle": 0.015,
    "vehicle.bicycle": 0.015,
    BICYCLE_RACK: 0.01,
    "movable_object.debris": 0.02,
}
SIZES = {
    "car": (1.9, 4.6, 1.7),
    "pedestrian": (0.7, 0.7, 1.8),
    "traffic_cone": (0.4, 0.4, 1.0),
    "barrier": (2.5, 0.5, 1.0),
}
CHANNELS = {"LIDAR_TOP": "lidar", "CAM_FRONT": "camera", "CAM_BACK": "camera", "RADAR_FRONT": "radar"}


def generate(folder: Path, samples: int, seed: int, version: str, split: str) -> None:
    """Write tables, map and ``results.json`` into ``folder``; the split is one of its own, of all scenes."""
    rng = generator(seed, "nuscenes_eval_case")
    tables = _Tables(rng)
    tables_folder = folder / version
    tables_folder.mkdir(parents=True)
    (folder / "maps").mkdir()
    _write_map(folder / "maps" / "map.png")
    results: dict[str, list[dict[str, Any]]] = {}
    with open(folder / "results.json.part", "w", encoding="utf-8") as file:
        meta = {f"use_{name}": name == "camera" for name in ("camera", "lidar", "radar", "map", "external")}
        file.write('{"meta": ' + json.dumps(meta) + ', "results": {')
        comma = ""
        for scene, start in enumerate(range(0, samples, SAMPLES_PER_SCENE)):
            results = tables.scene(scene, min(SAMPLES_PER_SCENE, samples - start))
            for token, boxes in results.items():
                file.write(f"{comma}{json.dumps(token)}: {json.dumps(boxes)}")
                comma = ", "
        file.write("}}")
    for name, rows in tables.rows.items():
        (tables_folder / f"{name}.json").write_text(json.dumps(rows, indent=0), encoding="utf-8")
    scenes = [row["name"] for row in tables.rows["scene"]]
    (tables_folder / "splits.json").write_text(json.dumps({split: scenes}), encoding="utf-8")
    (folder / "results.json.part").rename(folder / "results.json")


class _Tables:
    """Grows the tables scene by scene."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        names = ("sample", "sample_data", "sample_annotation", "ego_pose", "instance", "scene")
        self.rows: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
        log = self.token()
        self.log = log
        self.rows["log"] = [
            {"token": log, "logfile": "", "vehicle": "", "date_captured": "2020-01-01", "location": "boston-seaport"}
        ]
        map_row = {"token": self.token(), "log_tokens": [log], "category": "semantic_prior", "filename": "maps/map.png"}
        self.rows["map"] = [map_row]
        self.categories = {name: self.token() for name in (*CATEGORY_TO_CLASS, *IGNORED_CATEGORIES)}
        self.attributes = {name: self.token() for name in ATTRIBUTES}
        for table, tokens in (("category", self.categories), ("attribute", self.attributes)):
            self.rows[table] = [{"token": t, "name": n, "description": ""} for n, t in tokens.items()]
        levels = [str(level) for level in range(1, 5)]
        self.rows["visibility"] = [{"token": level, "level": f"v{level}", "description": ""} for level in levels]
        self.rows["sensor"] = [{"token": self.token(), "channel": c, "modality": m} for c, m in CHANNELS.items()]
        self.rows["calibrated_sensor"] = [
            {
                "token": self.token(),
                "sensor_token": row["token"],
                "translation": [0.0, 0.0, 1.8],
                "rotation": [1.0, 0.0, 0.0, 0.0],
                "camera_intrinsic": [],
            }
            for row in self.rows["sensor"]
        ]

    def token(self) -> str:
        return self.rng.bytes(16).hex()

    def scene(self, number: int, length: int) -> dict[str, list[dict[str, Any]]]:
        """Append a scene; the predictions of its samples."""
        scene, tokens = self.token(), [self.token() for _ in range(length)]
        ego = np.array([600.0, 1600.0, 0.0]) + self.rng.normal(0, 300, 3) * [1, 1, 0]
        first = {"token": scene, "log_token": self.log, "nbr_samples": length, "first_sample_token": tokens[0]}
        last = {"last_sample_token": tokens[-1], "name": f"case-{number:04d}", "description": ""}
        self.rows["scene"].append(first | last)
        times = 1_530_000_000_000_000 + number * 60_000_000 + 500_000 * np.arange(length)
        times += self.rng.integers(0, 99, length)
        path = ego + np.arange(length)[:, None] * [1.0, 0.5, 0.0]
        for index, token in enumerate(tokens):
            row = {"token": token, "timestamp": int(times[index]), "scene_token": scene}
            self.rows["sample"].append(row | _neighbours(tokens, index))
            self._sample_data(token, int(times[index]), path[index].tolist())
        truth = self._objects(tokens, path)
        return {token: self._predict(token, truth[index], path[index]) for index, token in enumerate(tokens)}

    def _sample_data(self, sample: str, time: int, ego: list[float]) -> None:
        for row in self.rows["calibrated_sensor"]:
            pose = self.token()
            self.rows["ego_pose"].append(
                {"token": pose, "timestamp": time, "rotation": [0.97, 0.0, 0.0, 0.24], "translation": ego}
            )
            self.rows["sample_data"].append(
                {
                    "token": self.token(),
                    "sample_token": sample,
                    "ego_pose_token": pose,
                    "calibrated_sensor_token": row["token"],
                    "timestamp": time,
                    "fileformat": "pcd",
                    "is_key_frame": True,
                    "height": 0,
                    "width": 0,
                    "filename": f"samples/{sample}",
                    "prev": "",
                    "next": "",
                }
            )

    def _objects(self, samples: list[str], path: np.ndarray) -> list[list[dict[str, Any]]]:
        """Append instances with their annotations; per sample, those that detectors look for."""
        rng = self.rng
        kinds = list(CATEGORY_SHARES)
        shares = np.array(list(CATEGORY_SHARES.values()))
        truth: list[list[dict[str, Any]]] = [[] for _ in samples]
        annotations: list[list[dict[str, Any]]] = [[] for _ in samples]
        for _ in range(max(1, round(len(samples) * OBJECTS / 15.5))):  # each is seen in 15.5 samples on average
            category = kinds[rng.choice(len(kinds), p=shares / shares.sum())]
            name = CATEGORY_TO_CLASS.get(category, "")
            begin = int(rng.integers(0, len(samples)))
            count = min(int(rng.integers(1, 31)), len(samples))
            begin = min(begin, len(samples) - count)
            instance, tokens = self.token(), [self.token() for _ in range(count)]
            self.rows["instance"].append(
                {
                    "token": instance,
                    "category_token": self.categories[category],
                    "nbr_annotations": count,
                    "first_annotation_token": tokens[0],
                    "last_annotation_token": tokens[-1],
                }
            )
            start = path[begin] + rng.normal(0, 22, 3) * [1, 1, 0.02] + [0, 0, 1]
            speed = rng.normal(0, 3, 3) * [1, 1, 0] * (rng.random() < 0.4)
            size = (np.array(SIZES.get(name, (2.5, 6.0, 2.6))) * rng.uniform(0.9, 1.1, 3)).round(3).tolist()
            yaw = float(rng.uniform(-math.pi, math.pi))
            own = CLASS_ATTRIBUTES.get(name, ())
            attribute = own[rng.integers(len(own))] if own and rng.random() < 0.95 else ""
            for index, token in enumerate(tokens):
                row = {
                    "token": token,
                    "sample_token": samples[begin + index],
                    "instance_token": instance,
                    "visibility_token": "4",
                    "attribute_tokens": [self.attributes[attribute]] if attribute else [],
                    "translation": (start + 0.5 * index * speed).round(3).tolist(),
                    "size": size,
                    "rotation": [math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)],
                    **_neighbours(tokens, index),
                    "num_lidar_pts": int(rng.integers(0, 60)),
                    "num_radar_pts": int(rng.integers(0, 3)),
                }
                annotations[begin + index].append(row)
                if name:
                    seen = {"name": name, "yaw": yaw, "speed": speed[:2], "attribute": attribute}
                    truth[begin + index].append(row | seen)
        self.rows["sample_annotation"] += [row for rows in annotations for row in rows]
        return truth

    def _predict(self, sample: str, truth: list[dict[str, Any]], ego: np.ndarray) -> list[dict[str, Any]]:
        """300 boxes: some around each true object, the rest anywhere."""
        rng = self.rng
        around = [row for row in truth if rng.random() < 0.85 for _ in range(int(rng.integers(1, 6)))][:PREDICTIONS]
        free = PREDICTIONS - len(around)
        labels = [DETECTION_CLASSES[index] for index in rng.integers(0, 10, free)]
        names = [row["name"] for row in around] + labels
        near = np.array([row["translation"] for row in around]).reshape(-1, 3)
        centre = np.concatenate([near, ego + rng.normal(0, 25, (free, 3))])
        true_size = np.array([row["size"] for row in around]).reshape(-1, 3)
        size = np.concatenate([true_size, rng.uniform(0.4, 6, (free, 3))])
        yaw = np.concatenate([[row["yaw"] for row in around], rng.uniform(-3, 3, free)])
        speed = np.concatenate([np.array([r["speed"] for r in around]).reshape(-1, 2), rng.normal(0, 2, (free, 2))])
        centre[: len(around)] += rng.normal(0, 0.9, (len(around), 3))
        size *= rng.uniform(0.8, 1.25, size.shape)
        yaw = yaw + rng.normal(0, 0.3, len(yaw))
        speed = speed + rng.normal(0, 0.4, speed.shape)
        scores = np.concatenate([rng.beta(3, 3, len(around)), rng.beta(1, 8, free)])
        rotation = np.stack([np.cos(yaw / 2), 0 * yaw, 0 * yaw, np.sin(yaw / 2)], 1)
        guesses = rng.random(len(names))
        boxes = []
        for row, name in enumerate(names):
            own = CLASS_ATTRIBUTES[name]
            attribute = own[int(guesses[row] * len(own))] if own else ""
            boxes.append(
                {
                    "sample_token": sample,
                    "translation": centre[row].tolist(),
                    "size": size[row].tolist(),
                    "rotation": rotation[row].tolist(),
                    "velocity": speed[row].tolist(),
                    "detection_name": name,
                    "detection_score": float(scores[row]),
                    "attribute_name": attribute,
                }
            )
        return [boxes[row] for row in rng.permutation(len(boxes))]


def _neighbours(tokens: list[str], index: int) -> dict[str, str]:
    return {
        "prev": tokens[index - 1] if index else "",
        "next": tokens[index + 1] if index + 1 < len(tokens) else "",
    }


def _write_map(path: Path) -> None:
    from PIL import Image

    Image.new("L", (16, 16), 255).save(path)
