"""Sensor files that the tables name: whether they are there, how large pictures are, how lidar points are laid out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath, names_in
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.samples import layout
from portbev_nuscenes.samples.images import image_size
from portbev_nuscenes.samples.lidar import read_points

Size = tuple[int, int]
LOOKED_AT = 24
"""Lidar files of a split that are read before a run."""


def missing_files(root: DataPath, groups: Mapping[str, Sequence[str]]) -> list[Problem]:
    """A problem for each group (such as "train CAM_FRONT") of files below the root of which some are not there.

    Each folder is listed once, which is much faster than asking for each of many thousand files.
    """
    listed: dict[str, frozenset[str]] = {}
    problems = []
    for group, files in groups.items():
        gone = [file for file in files if not _is_there(root, file, listed)]
        if gone:
            what = f"file is missing: {len(gone)} of {len(files)} of {group}, this is the first"
            problems.append(Problem(str(root / gone[0]), what, _hint(root, gone[0], listed)))
    return problems


def _is_there(root: DataPath, file: str, listed: dict[str, frozenset[str]]) -> bool:
    folder, _, name = file.rpartition("/")
    if folder not in listed:
        listed[folder] = names_in(root / folder)
    return name in listed[folder]


def _hint(root: DataPath, file: str, listed: Mapping[str, frozenset[str]]) -> str:
    """What may help with a missing file: a name beside it that differs in case or suffix, or the folder."""
    folder, _, name = file.rpartition("/")
    stem = PurePosixPath(name).stem.lower()
    for other in sorted(listed[folder]):
        if other.lower() == name.lower():
            return f"There is {other}, which differs in case: the table must name it so"
        if PurePosixPath(other).stem.lower() == stem:
            return f"There is {other}, which has another suffix: the table must name it so"
    if not (root / folder).is_dir():
        return f"There is no folder {folder} in the data root: check the root, or link the folder there"
    return "Restore the files, or leave their scenes out of the split"


def picture_sizes(pictures: Mapping[str, DataPath], expected: Size | None) -> list[Problem]:
    """The problem that pictures of cameras differ in size or are not as configured; only their headers are read.

    Args:
        pictures: camera -> a picture of it.
        expected: (height, width) as configured; None if any will do.
    """
    sizes: dict[str, Size] = {}
    for camera, path in pictures.items():
        try:
            sizes[camera] = image_size(path)
        except DataError as error:
            return [Problem(error.where, error.what, error.cure)]
    where = str(next(iter(pictures.values()), ""))
    return differing_sizes(sizes, where) or wrong_size(sizes, expected, where)


def differing_sizes(sizes: Mapping[str, Size], where: str) -> list[Problem]:
    """The problem that cameras have pictures of different (height, width)."""
    if len(set(sizes.values())) < 2:
        return []
    named = ", ".join(f"{camera} {width} x {height}" for camera, (height, width) in sizes.items())
    cure = (
        "Scale the pictures to one size and their camera_intrinsic with them, or name cameras of one size: data.cameras"
    )
    return [Problem(where, f"the cameras have pictures of different sizes: {named}", cure)]


def wrong_size(sizes: Mapping[str, Size], expected: Size | None, where: str) -> list[Problem]:
    """The problem that all cameras have pictures of a size that is not configured."""
    size = next(iter(sizes.values()), None)
    if expected is None or size is None or size == expected:
        return []
    what = f"pictures are {size[1]} x {size[0]}, expected {expected[1]} x {expected[0]}"
    return [Problem(where, what, f"Set data.image.source_size=[{size[0]},{size[1]}]")]


def lidar_layout(files: Sequence[DataPath], values: int) -> list[Problem]:
    """The problem that lidar files cannot be ``values`` float32 values a point; some of the files are read."""
    wrong = []
    for path in some(files):
        try:
            points = read_points(path, values=values)
        except DataError as error:
            wrong.append(Problem(error.where, error.what, error.cure))
            continue
        likely = layout.likely_values(points.view(np.uint8).reshape(-1), values)
        if likely not in (0, values):
            wrong.append(Problem(str(path), *layout.mismatch(points.nbytes, values, likely)))
    if len(wrong) > 1:
        first = wrong[0]
        wrong = [first._replace(what=f"{first.what}, as are {len(wrong) - 1} others of {len(some(files))} looked at")]
    return wrong


def not_finite(files: Sequence[DataPath], values: int) -> tuple[int, int]:
    """Lidar points whose x, y or z is not finite, and all points, in some of the files."""
    clouds = [read_points(path, values=values) for path in some(files)]
    return sum(int((~np.isfinite(cloud[:, :3]).all(1)).sum()) for cloud in clouds), sum(map(len, clouds))


def some(files: Sequence[DataPath]) -> list[DataPath]:
    """The first, the last and others evenly between, :data:`LOOKED_AT` at most."""
    places: NDArray[np.int64] = np.unique(
        np.linspace(0, len(files) - 1, min(LOOKED_AT, len(files))).round().astype(int)
    )
    return [files[place] for place in places.tolist()]
