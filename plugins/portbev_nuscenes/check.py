"""Check a whole data root: its tables, the links between rows, the splits, and the sensor files.

What stops a run is found by the functions of :mod:`portbev_nuscenes.checks`, which runs call too. Beyond that, what the
schema asks for and nobody reads is told, and marked so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePosixPath
from typing import Any, Final

import msgspec
import numpy as np

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_nuscenes.checks import frames, opened, times
from portbev_nuscenes.checks.files import lidar_layout, missing_files
from portbev_nuscenes.checks.opened import Files
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.classes import Categories
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_nuscenes.samples.can_bus import pose_file, read_messages
from portbev_nuscenes.tables.build import build_index
from portbev_nuscenes.tables.chain import order_problems
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.jsonrows import read_rows
from portbev_nuscenes.tables.links import FOLLOWED, LINKS
from portbev_nuscenes.tables.rows import INDEXED, LIDAR, TABLES, version_folder
from portbev_nuscenes.tables.splits import find_split, other_splits, own_splits, scenes_of, usable_splits

Progress = Callable[[int, int], None]
Tables = dict[str, dict[str, Any]]

_ANNOTATED = ("sample_annotation", "instance", "category", "attribute")

_EXTRA: Final[dict[str, list[Any]]] = {
    "sample_data": [("filename", str), ("is_key_frame", bool), ("width", float | None, 0), ("height", float | None, 0)],
    "sample": [("timestamp", float)],
    "scene": [("name", str)],
    "sensor": [("channel", str)],
    "map": [("filename", str)],
}


def check_root(
    root: DataPath,
    version: str,
    *,
    section: NuscenesData | NuscenesQueueData | None = None,
    files: Files = "key",
    progress: Progress | None = None,
) -> Iterator[Problem]:
    """Yield each problem of ``<root>/<version>`` as soon as it is detected.

    Args:
        root: data root; only read.
        version: table folder.
        section: the ``data`` section of a run, whose cameras, categories and lidar layout count; by default all cameras
            of the tables and nuScenes' own categories and layout.
        files: which sensor files are opened: none, those of key frames, or all. Images are decoded fully.
        progress: called with (files done, files in all).

    Raises:
        DataError: there is no such root or version.
    """
    folder = version_folder(root, version)
    tables: Tables = {}
    yield from _read_tables(folder, tables)
    for name, rows in tables.items():
        yield from _check_links(folder, name, rows, tables)
    yield from _check_splits(root, version)
    values = NuscenesData().lidar_values if section is None else section.lidar_values
    if all(name in tables for name in INDEXED):
        yield from _check_index(folder, section)
    yield from (
        Problem(str(root / row.filename), f"map file of map {row.token} is missing", needed=False)
        for row in tables.get("map", {}).values()
        if not (root / row.filename).is_file()
    )
    yield from _check_can_bus(root, [row.name for row in tables.get("scene", {}).values()])
    if files != "none":
        chosen = [row for row in tables.get("sample_data", {}).values() if files == "all" or row.is_key_frame]
        channels = _channels(chosen, tables)
        groups = _groups(root, version, chosen, channels, tables)
        yield from missing_files(root, groups)
        clouds = [root / row.filename for row, channel in zip(chosen, channels, strict=True) if channel == LIDAR]
        layout = lidar_layout([path for path in clouds if path.is_file()], values)
        yield from layout
        yield from opened.check_files(root, chosen, channels, None if layout else values, progress)


def _read_tables(folder: DataPath, tables: Tables) -> Iterator[Problem]:
    """Read all tables into ``tables``; of those that are absent or damaged, the problems."""
    for name in TABLES:
        path, needed = folder / f"{name}.json", name in INDEXED
        if name in _ANNOTATED and not path.exists() and not _is_annotated(folder):
            tables[name] = {}
            if name == "sample_annotation":
                what = "no annotations: predictions can be made, but not trained on or scored"
                yield Problem(str(path), what, needed=False)
            continue
        try:
            tables[name], doubled = _read(path, name)
        except DataError as error:
            yield Problem(error.where, error.what, error.cure if needed else "", needed)
            continue
        for token in doubled:
            yield Problem(str(path), f"token {token} comes more than once", needed=needed)


def _is_annotated(folder: DataPath) -> bool:
    """Whether there is a table of annotations with more in it than an empty list."""
    path = folder / "sample_annotation.json"
    return path.exists() and path.read_bytes()[:64].strip() not in (b"[]", b"[ ]")


def _read(path: DataPath, name: str) -> tuple[dict[str, Any], list[str]]:
    """The rows of a table by token, and the tokens that come more than once."""
    followed: list[Any] = [("token", str)]
    others: list[Any] = []
    for field, link in LINKS[name].items():
        kind = tuple[str, ...] if link.many else str
        if (name, field) in FOLLOWED:
            followed.append((field, kind))
        else:
            others.append((field, kind, () if link.many else ""))
    extra = _EXTRA.get(name, [])
    fields = [*followed, *(row for row in extra if len(row) == 2), *others, *(row for row in extra if len(row) > 2)]
    row_type: Any = msgspec.defstruct(name, fields, gc=False)
    rows: dict[str, Any] = {}
    doubled = []
    for block in read_rows(path, row_type):
        for row in block:
            if row.token in rows:
                doubled.append(row.token)
            rows[row.token] = row
    return rows, doubled


def _check_links(folder: DataPath, name: str, rows: dict[str, Any], tables: Tables) -> Iterator[Problem]:
    where = str(folder / f"{name}.json")
    for field, link in LINKS[name].items():
        target = tables.get(link.table)
        if target is None:
            continue  # that table is reported already
        needed = (name, field) in FOLLOWED
        may_be_empty = link.optional or not needed
        for row in rows.values():
            value = getattr(row, field)
            for token in value if link.many else (value,):
                if token not in target and not (may_be_empty and token == ""):
                    what = f"{field} of row {row.token} points at no row of {link.table}: {token!r}"
                    yield Problem(where, what, needed=needed)
        if field == "next":
            yield from _check_chain(where, rows)


def _check_chain(where: str, rows: dict[str, Any]) -> Iterator[Problem]:
    """If ``next`` of row A is row B, then ``prev`` of B must be A, and the other way round."""
    for row in rows.values():
        for link, opposite in (("next", "prev"), ("prev", "next")):
            neighbour = rows.get(getattr(row, link))
            if neighbour is not None and getattr(neighbour, opposite) != row.token:
                what = f"{link} of row {row.token} is {neighbour.token}, whose {opposite} is another row"
                yield Problem(where, what, needed=False)


def _check_index(folder: DataPath, section: NuscenesData | NuscenesQueueData | None) -> Iterator[Problem]:
    """What runs refuse, from the index of the version."""
    try:
        index = build_index(
            folder
        )  # raises for numbers that are not finite and for bad rotations, sizes and intrinsics
        columns = _needed_channels(index, section)
    except DataError as error:
        yield Problem(error.where, error.what, error.cure)
        return
    samples = np.arange(len(index.sample_token))
    categories = Categories(section.categories if section else None)
    labels = categories.labels(name.decode() for name in index.categories)
    yield from times.wrong_unit(index, samples, folder)
    yield from order_problems(index, samples)
    if LIDAR.encode() in index.channels:
        lidar = index.channel(LIDAR)
        there = samples[index.key_frames[samples, lidar] >= 0]
        queues = isinstance(section, NuscenesQueueData)  # the others ask the times of samples alone
        yield from (found._replace(needed=queues) for found in times.other_clock(index, there, lidar, folder))
    yield from frames.missing_key_frames(index, samples, columns, folder)
    yield from frames.doubled_key_frames(index, samples, columns, folder)
    if len(index.box_category):
        yield from frames.unknown_attributes(index, samples, labels, folder)
        yield from frames.unknown_categories(index, samples, categories, folder)


def _needed_channels(index: Index, section: NuscenesData | NuscenesQueueData | None) -> list[int]:
    """Channels that every sample needs: the section's cameras, or all that have a key frame; and LIDAR_TOP."""
    if section is None:
        return np.flatnonzero((index.key_frames >= 0).any(0)).tolist()
    lidar = [index.channel(LIDAR)] if LIDAR.encode() in index.channels else []
    return [*map(index.channel, section.cameras), *lidar]


def _check_can_bus(root: DataPath, scenes: list[str]) -> Iterator[Problem]:
    """Read the CAN bus messages of each scene that has a file; the files are optional."""
    for path in (pose_file(root, scene) for scene in scenes):
        try:
            if path.exists():
                read_messages(path)
        except DataError as error:
            yield Problem(error.where, error.what, error.cure)


def _check_splits(root: DataPath, version: str) -> Iterator[Problem]:
    try:
        usable, own, here = usable_splits(root, version), own_splits(root, version), scenes_of(root, version)
        notes = [(str(own[name].path), note) for name in own for note in find_split(name, root, version).notes]
    except DataError as error:
        yield Problem(error.where, error.what, error.cure)
        return
    if not usable:
        yield Problem(str(root / version), "no split has a scene here", other_splits("", root, version))
    yield from (Problem(where, note, needed=False) for where, note in notes)
    for split, (names, path) in own.items():
        if missing := [name for name in names if name not in here]:
            what = f"split {split!r} names {len(missing)} unknown scenes, the first is {missing[0]!r}"
            yield Problem(str(path), what, needed=split not in usable)


def _channels(rows: list[Any], tables: Tables) -> list[str]:
    """The channel of each row of sample_data; the folder of its file where the links are broken."""
    sensors, calibrated = tables.get("sensor", {}), tables.get("calibrated_sensor", {})
    names = {
        token: sensors[row.sensor_token].channel for token, row in calibrated.items() if row.sensor_token in sensors
    }
    return [names.get(row.calibrated_sensor_token) or PurePosixPath(row.filename).parent.name for row in rows]


def _groups(root: DataPath, version: str, rows: list[Any], channels: list[str], tables: Tables) -> dict[str, list[str]]:
    """Files by the first split that holds their scene, and by channel."""
    split_of: dict[str, str] = {}
    try:
        for split in usable_splits(root, version):
            for scene in find_split(split, root, version).scenes:
                split_of.setdefault(scene, split)
    except DataError:
        pass  # reported already
    scenes = {token: row.name for token, row in tables.get("scene", {}).items()}
    of_sample = {
        token: split_of.get(scenes.get(row.scene_token, ""), "") for token, row in tables.get("sample", {}).items()
    }
    groups: dict[str, list[str]] = {}
    for row, channel in zip(rows, channels, strict=True):
        groups.setdefault(f"{of_sample.get(row.sample_token, '')} {channel}".strip(), []).append(row.filename)
    return groups
