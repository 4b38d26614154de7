"""Checks of a whole data root: its tables, the links between rows, the splits, and the sensor files."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec

from portbev.errors import DataError, PortbevError
from portbev_nuscenes.samples.can_bus import pose_file, read_messages
from portbev_nuscenes.samples.images import read_image
from portbev_nuscenes.samples.lidar import read_lidar
from portbev_nuscenes.tables.build import build_index
from portbev_nuscenes.tables.jsonrows import read_rows
from portbev_nuscenes.tables.rows import TABLES, version_folder
from portbev_nuscenes.tables.splits import OFFICIAL_SPLITS, read_custom_splits

Files = Literal["none", "key", "all"]
Progress = Callable[[int, int], None]


class Problem(NamedTuple):
    """A defect of the data: the file (``where``) and a description (``what``)."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


class Link(NamedTuple):
    """A field with the token of a row of ``table``; ``many``: a list of tokens; ``optional``: it may be empty."""

    table: str
    many: bool = False
    optional: bool = False


LINKS: Final[dict[str, dict[str, Link]]] = {
    "attribute": {},
    "calibrated_sensor": {"sensor_token": Link("sensor")},
    "category": {},
    "ego_pose": {},
    "instance": {
        "category_token": Link("category"),
        "first_annotation_token": Link("sample_annotation"),
        "last_annotation_token": Link("sample_annotation"),
    },
    "log": {},
    "map": {"log_tokens": Link("log", many=True)},
    "sample": {
        "scene_token": Link("scene"),
        "prev": Link("sample", optional=True),
        "next": Link("sample", optional=True),
    },
    "sample_annotation": {
        "sample_token": Link("sample"),
        "instance_token": Link("instance"),
        "attribute_tokens": Link("attribute", many=True),
        "visibility_token": Link("visibility", optional=True),
        "prev": Link("sample_annotation", optional=True),
        "next": Link("sample_annotation", optional=True),
    },
    "sample_data": {
        "sample_token": Link("sample"),
        "ego_pose_token": Link("ego_pose"),
        "calibrated_sensor_token": Link("calibrated_sensor"),
        "prev": Link("sample_data", optional=True),
        "next": Link("sample_data", optional=True),
    },
    "scene": {
        "log_token": Link("log"),
        "first_sample_token": Link("sample"),
        "last_sample_token": Link("sample"),
    },
    "sensor": {},
    "visibility": {},
}
"""The links of the schema: table -> field -> the table that it points at."""

_EXTRA: Final[dict[str, list[tuple[str, Any]]]] = {
    "sample_data": [("filename", str), ("is_key_frame", bool), ("width", int), ("height", int)],
    "sample": [("timestamp", float)],
    "scene": [("name", str)],
    "map": [("filename", str)],
}


def check_root(
    root: Path, version: str, *, files: Files = "key", progress: Progress | None = None
) -> Iterator[Problem]:
    """Yield each problem of ``<root>/<version>`` as soon as it is detected.

    Args:
        root: data root; only read.
        version: table folder.
        files: which sensor files are opened: none, those of key frames, or all. Images are decoded fully.
        progress: called with (files done, files in all).

    Raises:
        DataError: there is no such root or version.
    """
    folder = version_folder(root, version)
    tables: dict[str, dict[str, Any]] = {}
    for name in TABLES:
        path = folder / f"{name}.json"
        if version.endswith("test") and name in ("sample_annotation", "instance") and not path.exists():
            tables[name] = {}  # the official test set has no annotations
            continue
        try:
            tables[name], duplicates = _read(path, name)
        except DataError as error:
            yield Problem(error.where, error.what)
            continue
        yield from (Problem(str(path), f"token {token} comes more than once") for token in duplicates)
    for name, rows in tables.items():
        yield from _check_links(folder, name, rows, tables)
    yield from _check_splits(folder, {row.name for row in tables.get("scene", {}).values()})
    if len(tables) == len(TABLES):
        try:
            build_index(folder)  # raises for numbers that are not finite and for bad rotations, sizes and intrinsics
        except DataError as error:
            yield Problem(error.where, error.what)
    yield from (
        Problem(str(root / row.filename), f"map file of map {row.token} is missing")
        for row in tables.get("map", {}).values()
        if not (root / row.filename).is_file()
    )
    yield from _check_can_bus(root, [row.name for row in tables.get("scene", {}).values()])
    if files != "none":
        chosen = [row for row in tables.get("sample_data", {}).values() if files == "all" or row.is_key_frame]
        yield from _check_files(root, chosen, progress)


def _read(path: Path, name: str) -> tuple[dict[str, Any], list[str]]:
    """The rows of a table by token, and the tokens that come more than once."""
    links = [(field, tuple[str, ...] if link.many else str) for field, link in LINKS[name].items()]
    row_type: Any = msgspec.defstruct(name, [("token", str), *links, *_EXTRA.get(name, [])], gc=False)
    rows: dict[str, Any] = {}
    doubled = []
    for block in read_rows(path, row_type):
        for row in block:
            if row.token in rows:
                doubled.append(row.token)
            rows[row.token] = row
    return rows, doubled


def _check_links(folder: Path, name: str, rows: dict[str, Any], tables: dict[str, dict[str, Any]]) -> Iterator[Problem]:
    where = str(folder / f"{name}.json")
    for field, link in LINKS[name].items():
        target = tables.get(link.table)
        if target is None:
            continue  # that table is reported already
        for row in rows.values():
            value = getattr(row, field)
            for token in value if link.many else (value,):
                if token not in target and not (link.optional and token == ""):
                    yield Problem(where, f"{field} of row {row.token} points at no row of {link.table}: {token!r}")
        if field == "next":
            yield from _check_chain(where, rows)
            if name == "sample":
                yield from _check_times(where, rows)


def _check_chain(where: str, rows: dict[str, Any]) -> Iterator[Problem]:
    """If ``next`` of row A is row B, then ``prev`` of B must be A, and the other way round."""
    for row in rows.values():
        for link, opposite in (("next", "prev"), ("prev", "next")):
            neighbour = rows.get(getattr(row, link))
            if neighbour is not None and getattr(neighbour, opposite) != row.token:
                yield Problem(where, f"{link} of row {row.token} is {neighbour.token}, whose {opposite} is another row")


def _check_times(where: str, samples: dict[str, Any]) -> Iterator[Problem]:
    """The sample that ``next`` names must be later."""
    for row in samples.values():
        successor = samples.get(row.next)
        if successor is not None and successor.timestamp <= row.timestamp:
            yield Problem(where, f"next of row {row.token} is {successor.token}, which is not later")


def _check_can_bus(root: Path, scenes: list[str]) -> Iterator[Problem]:
    """Read the CAN bus messages of each scene that has a file; the files are optional."""
    for path in (pose_file(root, scene) for scene in scenes):
        try:
            if path.exists():
                read_messages(path)
        except DataError as error:
            yield Problem(error.where, error.what)


def _check_splits(folder: Path, scenes: set[str]) -> Iterator[Problem]:
    path = folder / "splits.json"
    try:
        custom = read_custom_splits(path)
    except DataError as error:
        yield Problem(error.where, error.what)
        return
    for split, names in custom.items():
        if split in OFFICIAL_SPLITS:
            yield Problem(str(path), f"split {split!r} has the name of an official one, which is used instead")
        if missing := [name for name in names if name not in scenes]:
            yield Problem(
                str(path), f"split {split!r} names {len(missing)} unknown scenes, the first is {missing[0]!r}"
            )


def _check_files(root: Path, rows: list[Any], progress: Progress | None) -> Iterator[Problem]:
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for done, problem in enumerate(_in_order(pool, rows, lambda row: _check_file(root, row)), 1):
            if problem is not None:
                yield problem
            if progress is not None:
                progress(done, len(rows))


def _in_order(pool: ThreadPoolExecutor, rows: Iterable[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
    """Yield ``work(row)`` for each row, in order; at most 256 rows are submitted ahead."""
    ahead: deque[Future[Any]] = deque()
    for row in rows:
        ahead.append(pool.submit(work, row))
        if len(ahead) >= 256:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()


def _check_file(root: Path, row: Any) -> Problem | None:
    path = root / row.filename
    try:
        if path.suffix.lower() in (".jpg", ".jpeg", ".png"):
            read_image(path, (row.height, row.width), token=row.sample_token)
        elif path.name.endswith(".pcd.bin"):
            read_lidar(path, token=row.sample_token)
        elif not path.is_file():
            return Problem(str(path), f"file is missing (sample {row.sample_token})")
    except PortbevError as error:
        return Problem(error.where, error.what)
    return None
