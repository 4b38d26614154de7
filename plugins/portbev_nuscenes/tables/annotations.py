"""Annotations of a version as arrays: boxes in the global frame and their velocities."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev_nuscenes.tables.rows import Annotation, Instance, Named, encoded, follow, numbers, rows

MAX_TIME_DIFFERENCE = 1.5
"""Seconds between two annotations of an object beyond which they give no velocity (twice that around a middle one)."""

_TABLE = "sample_annotation"


def annotated_boxes(folder: Path, position: dict[str, int], times: dict[str, float]) -> dict[str, NDArray[Any]]:
    """The columns of an index about boxes, ordered by sample.

    Args:
        folder: the tables.
        position: sample token -> row of the sample in the index.
        times: sample token -> microseconds.
    """
    categories, attributes = list(rows(folder, "category", Named)), list(rows(folder, "attribute", Named))
    category_of = {row.token: place for place, row in enumerate(categories)}
    attribute_of = {row.token: place for place, row in enumerate(attributes)}
    found, objects = _read(folder)
    instance_of = {row.token: place for place, row in enumerate(objects)}
    kind = follow(category_of, [(row.token, row.category_token) for row in objects], folder, "instance", "category")
    instance = follow(instance_of, [(row.token, row.instance_token) for row in found], folder, _TABLE, "instance")
    links = [(row.token, row.sample_token) for row in found]
    sample = np.array(follow(position, links, folder, _TABLE, "sample"), np.int64)
    tokens, path = [row.token for row in found], folder / f"{_TABLE}.json"
    columns: dict[str, NDArray[Any]] = {
        "box_category": np.array([kind[place] for place in instance], np.int16),
        "box_instance": np.array(instance, np.int64),
        "box_translation": numbers([row.translation for row in found], 3, tokens, path),
        "box_size": _sizes(found, tokens, path),
        "box_rotation": numbers([row.rotation for row in found], 4, tokens, path),
        "box_velocity": _velocities(folder, found, times),
        "box_points": np.array([(row.num_lidar_pts, row.num_radar_pts) for row in found], np.int32).reshape(-1, 2),
        "box_attribute": _attributes(folder, found, attribute_of),
    }
    order = np.argsort(sample, kind="stable")
    start = np.zeros(len(position) + 1, np.int64)
    np.cumsum(np.bincount(sample, minlength=len(position)), out=start[1:])
    return {
        "categories": encoded([row.name for row in categories]),
        "attributes": encoded([row.name for row in attributes]),
        "box_start": start,
        **{name: column[order] for name, column in columns.items()},
    }


def _read(folder: Path) -> tuple[list[Annotation], list[Instance]]:
    if folder.name.endswith("test") and not (folder / f"{_TABLE}.json").exists():
        return [], []  # the official test set has no annotations
    return list(rows(folder, _TABLE, Annotation)), list(rows(folder, "instance", Instance))


def _sizes(found: list[Annotation], tokens: list[str], path: Path) -> NDArray[np.float64]:
    sizes = numbers([row.size for row in found], 3, tokens, path)
    bad = np.flatnonzero((sizes <= 0).any(1))
    if len(bad):
        raise DataError(f"row with token {tokens[bad[0]]} has a size that is not positive", where=str(path))
    return sizes


def _attributes(folder: Path, found: list[Annotation], attribute_of: dict[str, int]) -> NDArray[np.int16]:
    """(G,) attribute of each box, -1 for none."""
    attribute = np.full(len(found), -1, np.int16)
    given = [place for place, row in enumerate(found) if row.attribute_tokens]
    for place in given:
        count = len(found[place].attribute_tokens)
        if count > 1:
            what = f"row with token {found[place].token} has {count} attributes, at most 1 is allowed"
            raise DataError(what, where=str(folder / f"{_TABLE}.json"))
    links = [(found[place].token, found[place].attribute_tokens[0]) for place in given]
    attribute[given] = follow(attribute_of, links, folder, _TABLE, "attribute")
    return attribute


def _velocities(folder: Path, found: list[Annotation], times: dict[str, float]) -> NDArray[np.float64]:
    """(G, 3) velocity [m/s]: central difference of an object's neighbouring annotations, one-sided at its ends.

    NaN where there is no neighbour, or none near enough in time.
    """
    by_token = {row.token: row for row in found}
    before = follow(by_token, [(row.token, row.prev or row.token) for row in found], folder, _TABLE, _TABLE)
    after = follow(by_token, [(row.token, row.next or row.token) for row in found], folder, _TABLE, _TABLE)
    # to seconds before the subtraction, as the devkit does: it changes the last bits
    elapsed = _column([1e-6 * times[row.sample_token] for row in after], ()) - _column(
        [1e-6 * times[row.sample_token] for row in before], ()
    )
    moved = _column([row.translation for row in after], (3,)) - _column([row.translation for row in before], (3,))
    return velocity(moved, elapsed, np.array([bool(row.prev) + bool(row.next) for row in found], np.int64))


def velocity(
    moved: NDArray[np.float64], elapsed: NDArray[np.float64], neighbours: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n, d) velocity [m/s] between the neighbouring annotations of an object.

    NaN where there is no neighbour, where the neighbours are too far apart in time, or where no time lies between them.

    Args:
        moved: (n, d) way from the earlier annotation to the later one [m].
        elapsed: (n,) time between them [s].
        neighbours: (n,) how many there are: 0, 1 at the ends of a track, 2 in its middle.
    """
    known = (neighbours > 0) & (elapsed > 0) & (elapsed <= MAX_TIME_DIFFERENCE * np.maximum(neighbours, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(known[:, None], moved / elapsed[:, None], np.nan)


def _column(values: list[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(-1, *shape)
