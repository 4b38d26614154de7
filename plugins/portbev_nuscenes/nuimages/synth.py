"""Generated nuImages tables: coloured pictures of ellipses on a road, to try a conversion on."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.files import atomic_write, write_json
from portbev_nuscenes.classes import CATEGORY_TO_CLASS
from portbev_nuscenes.nuimages.masks import encoded
from portbev_nuscenes.nuimages.rows import DRIVEABLE, EGO

CAMERAS = ("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
OTHERS = ("animal", "movable_object.debris", "static_object.bicycle_rack", "vehicle.ego", "flat.driveable_surface")


def generate(out: Path, *, images: int, seed: int, size: tuple[int, int], version: str) -> Path:
    """Write ``images`` pictures and the eleven tables of a version; ``size``: (width, height). Equal bytes for a seed.

    Raises:
        PortbevError: pycocotools is not installed, or a file cannot be written.
    """
    rng = np.random.default_rng(seed)
    names = sorted({*CATEGORY_TO_CLASS, *OTHERS})
    categories = [{"token": _token("category", name), "name": name, "description": ""} for name in names]
    tables: dict[str, list[dict[str, Any]]] = {"category": categories, "attribute": [], "log": _logs(), "sensor": []}
    tables |= {name: [] for name in ("calibrated_sensor", "ego_pose", "sample", "sample_data")}
    tables |= {"object_ann": [], "surface_ann": []}
    for camera in CAMERAS:
        token = _token("sensor", camera)
        tables["sensor"].append({"token": token, "channel": camera, "modality": "camera"})
        tables["calibrated_sensor"].append(_calibration(camera, token))
    for number in range(images):
        _picture(out, tables, number, rng, size)
    for name, rows in tables.items():
        write_json(out / version / f"{name}.json", rows)
    return out


def _picture(
    out: Path, tables: dict[str, list[dict[str, Any]]], number: int, rng: np.random.Generator, size: tuple[int, int]
) -> None:
    from PIL import Image

    width, height = size
    camera, stamp = CAMERAS[number % len(CAMERAS)], 1_500_000_000_000_000 + 500_000 * number
    sample, picture, pose = (_token(kind, number) for kind in ("sample", "sample_data", "ego_pose"))
    file = f"samples/{camera}/n000__{camera}__{stamp}.jpg"
    pixels = np.full((height, width, 3), 170, np.uint8)
    road = np.zeros((height, width), bool)
    road[int(height * 0.6) :] = True
    hood = np.zeros((height, width), bool)
    hood[int(height * 0.95) :] = True
    for kind, name, mask in (("road", DRIVEABLE, road), ("hood", EGO, hood)):
        pixels[mask] = 90 if kind == "road" else 30
        row = {"token": _token(kind, number), "sample_data_token": picture, "category_token": _token("category", name)}
        tables["surface_ann"].append({**row, "mask": encoded(mask)})
    kinds = [row["name"] for row in tables["category"] if row["name"] not in (DRIVEABLE, EGO)]
    for index in range(int(rng.integers(1, 6))):
        box, mask = _ellipse(rng, size)
        pixels[mask] = rng.integers(0, 255, 3)
        name = kinds[int(rng.integers(len(kinds)))]
        tables["object_ann"].append(
            {
                "token": _token("object", number, index),
                "sample_data_token": picture,
                "category_token": _token("category", name),
                "attribute_tokens": [],
                "bbox": box,
                "mask": encoded(mask) if rng.random() > 0.05 else None,
            }
        )
    common = {"timestamp": stamp, "log_token": _token("log", 0)}
    tables["sample"].append({"token": sample, "key_camera_token": picture, **common})
    still = {"rotation": [1.0, 0.0, 0.0, 0.0], "rotation_rate": [0.0, 0.0, 0.0], "acceleration": [0.0, 0.0, 0.0]}
    tables["ego_pose"].append({"token": pose, "translation": [0.0, 0.0, 0.0], "speed": 0.0, **still, **common})
    tables["sample_data"].append(
        {
            "token": picture,
            "sample_token": sample,
            "ego_pose_token": pose,
            "calibrated_sensor_token": _token("calibrated_sensor", camera),
            "filename": file,
            "fileformat": "jpg",
            "width": width,
            "height": height,
            "timestamp": stamp,
            "is_key_frame": True,
            "next": "",
            "prev": "",
        }
    )
    with atomic_write(out / file) as temporary:
        Image.fromarray(pixels).save(temporary, format="JPEG", quality=90)


def _ellipse(rng: np.random.Generator, size: tuple[int, int]) -> tuple[list[int], NDArray[np.bool_]]:
    """A box (left, top, right, bottom) and what it holds."""
    width, height = size
    half = np.maximum(2, (rng.uniform(0.03, 0.15, 2) * size).astype(int))
    centre = rng.integers(half, np.array(size) - half)
    y, x = np.mgrid[:height, :width]
    mask = ((x - centre[0]) / half[0]) ** 2 + ((y - centre[1]) / half[1]) ** 2 <= 1
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return [int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1], mask


def _logs() -> list[dict[str, Any]]:
    row = {"token": _token("log", 0), "logfile": "n000", "vehicle": "n000", "date_captured": "2018-01-01"}
    return [{**row, "location": "singapore-onenorth"}]


def _calibration(camera: str, sensor: str) -> dict[str, Any]:
    intrinsic = [[1266.0, 0.0, 800.0], [0.0, 1266.0, 450.0], [0.0, 0.0, 1.0]]
    row = {"token": _token("calibrated_sensor", camera), "sensor_token": sensor, "translation": [1.7, 0.0, 1.5]}
    return {**row, "rotation": [0.5, -0.5, 0.5, -0.5], "camera_intrinsic": intrinsic, "camera_distortion": [0.0] * 4}


def _token(*parts: object) -> str:
    return hashlib.md5(":".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()
