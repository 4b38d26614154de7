"""Rows of the official nuScenes tables, decoded with their types.

Only the fields that are used are decoded; a missing table, field or link is an error that names the table, the row and
its token. The tables: https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev_nuscenes.tables.jsonrows import read_rows

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
    prev: str = ""


class Sensor(msgspec.Struct, gc=False):
    token: str
    channel: str
    modality: str


class SensorLink(msgspec.Struct, gc=False):
    """What scoring needs of a row of ``calibrated_sensor``."""

    token: str
    sensor_token: str


class CalibratedSensor(SensorLink, gc=False):
    translation: Vector
    rotation: Quaternion
    camera_intrinsic: list[list[float]]


class FrameLink(msgspec.Struct, gc=False):
    """What scoring needs of a row of ``sample_data``, of which there are millions."""

    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    is_key_frame: bool


class SampleData(FrameLink, gc=False):
    token: str
    timestamp: float
    filename: str


class EgoPlace(msgspec.Struct, gc=False):
    """What scoring needs of a row of ``ego_pose``."""

    token: str
    translation: Vector


class EgoPose(EgoPlace, gc=False):
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
    found = _versions(root)
    cure = f"There are: {', '.join(found)}" if found else "It holds no nuScenes tables: check the data root"
    raise DataError(f"no version {version!r} here", where=str(root), cure=cure)


def only_version(root: Path) -> str:
    """Name of the one table folder in a data root.

    Raises:
        DataError: there is none, or more than one.
    """
    found = _versions(root)
    if len(found) == 1:
        return found[0]
    cure = f"Choose one of {', '.join(found)} with --version" if found else "Check the data root"
    raise DataError("more than one version" if found else "no nuScenes tables here", where=str(root), cure=cure)


def _versions(root: Path) -> list[str]:
    return sorted(path.parent.name for path in root.glob("*/sample.json"))


def rows(folder: Path, table: str, kind: type[Row], keep: Callable[[Row], bool] | None = None) -> Iterator[Row]:
    """The rows of ``<folder>/<table>.json``, in order, in bounded memory.

    Raises:
        DataError: the table is missing or damaged, or a row lacks a field or has one of another type.
    """
    for some in read_rows(folder / f"{table}.json", kind):
        yield from some if keep is None else filter(keep, some)


def follow(
    known: Mapping[str, Value], links: Iterable[tuple[str, str]], folder: Path, source: str, target: str
) -> list[Value]:
    """What the second token of each link points at; the first one is the row it stands in, for the error.

    Args:
        known: token -> row (or what stands for it) of the table ``target``.
        links: (token of the row in ``source``, token that it points at).

    Raises:
        DataError: a token that points nowhere.
    """
    found = []
    for owner, token in links:
        value = known.get(token)
        if value is None:
            what = f"no row with token {token!r}, which {source} {owner} points at"
            raise DataError(what, where=str(folder / f"{target}.json"))
        found.append(value)
    return found


def numbers(values: list[Any], width: int, tokens: list[str], path: Path) -> NDArray[np.float64]:
    """(n, width) finite numbers, one row per token; rotations (width 4) must not be zero.

    Raises:
        DataError: names the first token whose numbers cannot be used.
    """
    array = np.array(values, np.float64).reshape(-1, width)
    good = np.isfinite(array).all(1)
    if width == 4:
        good &= np.abs(array).sum(1) > 0
    if not good.all():
        bad = int(np.flatnonzero(~good)[0])
        what = "is not a rotation" if width == 4 else "has a number that is not finite"
        raise DataError(f"row with token {tokens[bad]} {what}: {values[bad]}", where=str(path))
    return array


def encoded(texts: list[str]) -> NDArray[np.bytes_]:
    """(n,) UTF-8 bytes."""
    return np.array([text.encode() for text in texts], dtype=np.bytes_ if texts else "S1")
