"""Ego motion of the samples of a split, from the CAN bus expansion or derived from ego poses."""

from __future__ import annotations

import hashlib
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_nuscenes.samples import can_bus
from portbev_nuscenes.samples.ego_motion import motion_from_poses
from portbev_nuscenes.tables.index import Index

Array = NDArray[np.float64]
Source = Literal["auto", "files", "poses"]


class Motion(NamedTuple):
    """Ego motion of samples, and its source.

    Attributes:
        values: (S, 9) acceleration, rotation rate, velocity in the ego frame per row of the index; 0 outside the split.
        notes: which scenes were read from files and which were not.
        digest: sha256 of the motion that was read from files; motion derived from poses is not part of it.
    """

    values: Array
    notes: list[str]
    digest: str


def split_motion(
    root: DataPath, index: Index, samples: NDArray[np.int64], lidar: int, source: Source, quirks: can_bus.Quirks
) -> Motion:
    """Motion of a split's samples.

    ``auto`` reads the files that exist and derives the motion of other scenes from ego poses; ``poses`` derives all;
    ``files`` is the original's way: the folder must exist, and a scene without a file gets zeros.

    Args:
        root: data root, with or without the folder ``can_bus``.
        index: the version's index.
        samples: rows of the split's samples; scenes are complete.
        lidar: column of LIDAR_TOP among the index's channels, whose ego poses are used.
        source: ``auto``, ``files`` or ``poses``.
        quirks: see :func:`portbev_nuscenes.samples.can_bus.motion_at`.

    Raises:
        DataError: a damaged file; no folder where ``files`` asks for it; ego poses out of order.
    """
    if source == "files" and not (root / can_bus.FOLDER).is_dir():
        raise DataError("no such folder", where=str(root / can_bus.FOLDER), cure="Set data.can_bus=auto or =poses")
    values, digest = np.zeros((len(index.sample_token), 9)), hashlib.sha256()
    from_file, derived, without, uncovered = [], [], [], 0
    for scene in np.unique(index.sample_scene[samples]).tolist():
        name, rows = index.scenes[scene].decode(), np.flatnonzero(index.sample_scene == scene)
        path = can_bus.pose_file(root, name)
        if source != "poses" and path.exists():
            times, motion = can_bus.read_messages(path)
            values[rows] = can_bus.motion_at(index.sample_time[rows], times, motion, quirks)
            uncovered += can_bus.uncovered(index.sample_time[rows], times)
            digest.update(values[rows].tobytes())
            from_file.append(name)
        elif source == "files":
            without.append(name)
        else:
            values[rows] = _derived(index, rows, lidar, name)
            derived.append(name)
    notes = [
        f"CAN bus: {origin} for {_scenes(names)}"
        for origin, names in (
            (f"read from {can_bus.FOLDER}/", from_file),
            ("derived from ego poses", derived),
            ("no file, so acceleration, rotation rate and velocity are 0", without),
        )
        if names
    ]
    if uncovered:
        notes.append(f"CAN bus: {uncovered} samples have no message within {can_bus.FAR} s; the nearest one is used")
    return Motion(values, notes, digest.hexdigest())


def _derived(index: Index, rows: NDArray[np.int64], lidar: int, scene: str) -> Array:
    """(n, 9) motion of a scene's samples, derived from the ego poses of their LIDAR_TOP key frames."""
    frames = index.key_frames[rows, lidar]
    seconds = (index.frame_time[frames] - index.frame_time[frames[0]]) * 1e-6
    if (np.diff(seconds) <= 0).any():
        first = int(rows[np.flatnonzero(np.diff(seconds) <= 0)[0] + 1])
        message = f"the lidar frame of sample {index.sample_token[first].decode()} is not later than the one before it"
        raise DataError(message, where=f"sample_data.json, {scene}", cure="Correct the times of the tables")
    return motion_from_poses(seconds, index.frame_rotation[frames], index.frame_translation[frames])


def _scenes(names: list[str]) -> str:
    shown = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return f"{len(names)} scene{'s' if len(names) > 1 else ''} ({shown})"
