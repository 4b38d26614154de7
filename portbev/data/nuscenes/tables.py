"""Rows of the official nuScenes tables, decoded with their types. May import: jsonrows, errors.

Only the fields that are used are decoded; a missing table, field or link is an error that names the table, the row and its
token. The tables: https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from portbev.data.nuscenes.jsonrows import read_rows
from portbev.errors import DataError

TABLES = (
    "attribute",
    "calibrated_sensor",
    "category",
    "ego_pose",
    "instance",
    "log",
    "map",
    "sample",
    "sample_annotation",
    "sample_data",
    "scene",
    "sensor",
    "visibility",
)
"""The thirteen tables of a complete version."""

INDEXED = tuple(name for name in TABLES if name not in ("log", "map", "visibility"))
"""The tables that training and evaluation read."""

LIDAR = "LIDAR_TOP"
Vector = tuple[float, float, float]
Quaternion = tuple[float, float, float, float]
Row = TypeVar("Row", bound=msgspec.Struct)
Value = TypeVar("Value")


class Named(msgspec.Struct, gc=False):
    """A row of ``scene``, ``category`` or ``attribute``."""

    token: str
    name: str


class Sample(msgspec.Struct, gc=False):
    token: str
    timestamp: float
    scene_token: str


class Sensor(msgspec.Struct, gc=False):
    token: str
    channel: str
    modality: str


class CalibratedSensor(msgspec.Struct, gc=False):
    token: str
    sensor_token: str
    translation: Vector
    rotation: Quaternion
    camera_intrinsic: list[list[float]]


class SampleData(msgspec.Struct, gc=False):
    token: str
    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    timestamp: float
    is_key_frame: bool
    filename: str


class EgoPose(msgspec.Struct, gc=False):
    token: str
    translation: Vector
    rotation: Quaternion


class Instance(msgspec.Struct, gc=False):
    token: str
    category_token: str


class Annotation(msgspec.Struct, gc=False):
    token: str
    sample_token: str
    instance_token: str
    attribute_tokens: tuple[str, ...]
    translation: Vector
    size: Vector
    rotation: Quaternion
    prev: str
    next: str
    num_lidar_pts: int
    num_radar_pts: int


def version_folder(root: Path, version: str) -> Path:
    """Folder of a version's tables.

    Raises:
        DataError: the root or the folder is missing; names the versions that are there.
    """
    folder = root / version
    if folder.is_dir():
        return folder
    if not root.is_dir():
        raise DataError("no such data root", where=str(root), cure="Give the folder that holds samples/ and the tables")
    found = sorted(path.parent.name for path in root.glob("*/sample.json"))
    cure = f"There are: {', '.join(found)}" if found else "It holds no nuScenes tables: check the data root"
    raise DataError(f"no version {version!r} here", where=str(root), cure=cure)


def rows(folder: Path, table: str, kind: type[Row], keep: Callable[[Row], bool] | None = None) -> Iterator[Row]:
    """The rows of ``<folder>/<table>.json``, in order, in bounded memory.

    Raises:
        DataError: the table is missing or damaged, or a row lacks a field or has one of another type.
    """
    for some in read_rows(folder / f"{table}.json", kind):
        yield from some if keep is None else filter(keep, some)


def follow(known: Mapping[str, Value], token: str, folder: Path, link: str) -> Value:
    """What ``token`` points at; ``link`` describes it as "table row -> table".

    Raises:
        DataError: the token points nowhere.
    """
    try:
        return known[token]
    except KeyError:
        target = link.rsplit(" ", 1)[-1]
        raise DataError(
            f"no row with token {token!r}, which {link.split(' -> ', maxsplit=1)[0]} points at", where=str(folder / f"{target}.json")
        ) from None
