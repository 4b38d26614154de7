"""Rows of the official nuScenes tables, decoded with their types.

Only the fields that are used are decoded; a missing table, field or link is an error that names the table, the row and
its token. The tables: https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuscenes.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath, names_in
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
LONGEST_TEXT = 1000
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
    """The fields of ``calibrated_sensor`` that scoring needs."""

    token: str
    sensor_token: str


class CalibratedSensor(SensorLink, gc=False):
    translation: Vector
    rotation: Quaternion
    camera_intrinsic: list[list[float]]


class FrameLink(msgspec.Struct, gc=False):
    """The fields of ``sample_data`` that scoring needs; the official table has millions of rows."""

    sample_token: str
    ego_pose_token: str
    calibrated_sensor_token: str
    is_key_frame: bool


class SampleData(FrameLink, gc=False):
    token: str
    timestamp: float
    filename: str
    width: float | None = None
    height: float | None = None


class EgoPosition(msgspec.Struct, gc=False):
    """The fields of ``ego_pose`` that scoring needs."""

    token: str
    translation: Vector


class EgoPose(EgoPosition, gc=False):
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


def reference_channel(channels: Sequence[str], cameras: Sequence[str]) -> str:
    """The sensor at whose ego pose detections are scored: LIDAR_TOP, or the first camera by name where there is none.

    Raises:
        DataError: there is neither.
    """
    if LIDAR in channels:
        return LIDAR
    if not cameras:
        raise DataError(f"there is no {LIDAR} and no camera", where="sensor.json")
    return min(cameras)


def version_folder(root: DataPath, version: str) -> DataPath:
    """Folder of a version's tables.

    Raises:
        DataError: the root or the folder is missing; the message lists the versions in the root.
    """
    folder = root / version
    if folder.is_dir():
        return folder
    if not root.is_dir():
        raise DataError("no such data root", where=str(root), cure="Give the folder that holds samples/ and the tables")
    versions = _versions(root)
    cure = f"There are: {', '.join(versions)}" if versions else "It holds no nuScenes tables: check the data root"
    raise DataError(f"no version {version!r} here", where=str(root), cure=cure)


def looks_like(folder: DataPath) -> bool:
    """Whether a folder has names of nuScenes' own at its top: folders of files or of tables."""
    names = names_in(folder)
    own = {"samples", "sweeps", "maps", "can_bus", "basemap", "expansion", "prediction"}
    return bool(own & names) or any((folder / name / "sample.json").is_file() for name in names)


def only_version(root: DataPath) -> str:
    """Name of the one table folder in a data root.

    Raises:
        DataError: there is none, or more than one.
    """
    versions = _versions(root)
    if len(versions) == 1:
        return versions[0]
    cure = f"Choose one of {', '.join(versions)} with --version" if versions else "Check the data root"
    raise DataError("more than one version" if versions else "no nuScenes tables here", where=str(root), cure=cure)


def _versions(root: DataPath) -> list[str]:
    return sorted(folder.name for folder in root.iterdir() if (folder / "sample.json").is_file())


def rows(folder: DataPath, table: str, row_type: type[Row], keep: Callable[[Row], bool] | None = None) -> Iterator[Row]:
    """The rows of ``<folder>/<table>.json``, in order, in bounded memory.

    Raises:
        DataError: the table is missing or damaged, or a row lacks a field or has one of another type.
    """
    for block in read_rows(folder / f"{table}.json", row_type):
        yield from block if keep is None else filter(keep, block)


def follow(
    rows_by_token: Mapping[str, Value], links: Iterable[tuple[str, str]], folder: DataPath, source: str, target: str
) -> list[Value]:
    """Resolve links from table ``source`` to table ``target``: the value of each link's target.

    Args:
        rows_by_token: token -> row of the table ``target``, or a value that stands for the row, such as its index.
        links: pairs of a row's token in ``source`` (for the message of an error) and the token that it points at.
        folder: the tables.
        source, target: names of the tables.

    Raises:
        DataError: a token that no row of ``target`` has.
    """
    targets = []
    for owner, token in links:
        target_row = rows_by_token.get(token)
        if target_row is None:
            message = f"no row with token {token!r}, which {source} {owner} points at"
            raise DataError(message, where=str(folder / f"{target}.json"))
        targets.append(target_row)
    return targets


def check_unique(tokens: list[str], folder: DataPath, table: str) -> None:
    """Check that no two rows of a table have one token.

    Raises:
        DataError: two have; says how many tokens, and the first.
    """
    if len(set(tokens)) < len(tokens):
        doubled = [token for token, count in Counter(tokens).items() if count > 1]
        others = f", as do {len(doubled) - 1} other tokens" if len(doubled) > 1 else ""
        what, cure = f"token {doubled[0]} comes more than once{others}", "Give every row a token of its own"
        raise DataError(what, where=str(folder / f"{table}.json"), cure=cure)


def numbers(values: list[Any], width: int, tokens: list[str], path: DataPath) -> NDArray[np.float64]:
    """(n, width) finite numbers, one row per token; rotations (width 4) must not be zero.

    Raises:
        DataError: numbers that cannot be used; the message names the first token.
    """
    array = np.array(values, np.float64).reshape(-1, width)
    usable = np.isfinite(array).all(1)
    if width == 4:
        usable &= np.abs(array).sum(1) > 0
    if not usable.all():
        first = int(np.flatnonzero(~usable)[0])
        defect = "is not a rotation" if width == 4 else "has a number that is not finite"
        raise DataError(f"row with token {tokens[first]} {defect}: {values[first]}", where=str(path))
    return array


def encoded(texts: list[str]) -> NDArray[np.bytes_]:
    """(n,) UTF-8 bytes; what UTF-8 cannot hold becomes a question mark.

    Raises:
        DataError: a text so long that the array would take too much memory.
    """
    longest = max(texts, key=len, default="")
    if len(longest) > LONGEST_TEXT:
        what = f"a token, name or file name of {len(longest)} characters, at most {LONGEST_TEXT} are meant: "
        raise DataError(what + longest[:40] + "...", cure="Correct it in the tables")
    return np.array([text.encode(errors="replace") for text in texts], dtype=np.bytes_ if texts else "S1")
