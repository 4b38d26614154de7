"""A generated data set as the tests of the generator read it: tables, frames, points."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev_nuscenes.synth import SynthOptions

Array = NDArray[np.float64]

TINY = SynthOptions(
    scenes=2, samples_per_scene=3, seed=7, image_size=(320, 180), sweeps=2, lidar_beams=24, lidar_steps=240
)


#: A category of each detection class.
CLASSES = {
    "human.pedestrian.adult",
    "movable_object.barrier",
    "movable_object.trafficcone",
    "vehicle.bicycle",
    "vehicle.bus.rigid",
    "vehicle.car",
    "vehicle.construction",
    "vehicle.motorcycle",
    "vehicle.trailer",
    "vehicle.truck",
}


@dataclass(frozen=True)
class Dataset:
    """A generated data set with its tables, by name and by token."""

    root: Path
    options: SynthOptions
    tables: dict[str, list[dict[str, Any]]]

    def get(self, table: str, token: str) -> dict[str, Any]:
        (row,) = [row for row in self.tables[table] if row["token"] == token]
        return row

    def key_data(self, sample: str, channel: str) -> dict[str, Any]:
        (row,) = [
            row
            for row in self.tables["sample_data"]
            if row["sample_token"] == sample and row["is_key_frame"] and f"/{channel}/" in row["filename"]
        ]
        return row


def load(root: Path, options: SynthOptions) -> Dataset:
    files = sorted((root / options.version).glob("*.json"))
    return Dataset(root, options, {file.stem: json.loads(file.read_text()) for file in files})


def rotation(quaternion: list[float]) -> Array:
    w, x, y, z = quaternion
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def to_global(points: Array, *frames: dict[str, Any]) -> Array:
    for frame in frames:
        points = points @ rotation(frame["rotation"]).T + frame["translation"]
    return points


def from_global(points: Array, *frames: dict[str, Any]) -> Array:
    for frame in frames:
        points = (points - frame["translation"]) @ rotation(frame["rotation"])
    return points
