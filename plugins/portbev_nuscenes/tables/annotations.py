"""Annotated boxes of a version as arrays, in the global frame, with velocities."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_nuscenes.tables.rows import Annotation, Instance, Named, Row, check_unique, encoded, follow, numbers, rows

MAX_TIME_DIFFERENCE = 1.5
"""Two annotations of an object give a velocity if at most this many seconds lie between them.

Twice that for the two neighbours of an annotation in the middle of a track.
"""

_TABLE = "sample_annotation"


def annotated_boxes(folder: DataPath, position: dict[str, int], times: dict[str, float]) -> dict[str, NDArray[Any]]:
    """The ``box_*`` columns of an index, ordered by sample, with the names of categories and attributes.

    A version whose ``sample_annotation`` is absent or has no rows is not annotated, like the official test set; then
    ``instance``, ``category`` and ``attribute`` may be absent too.

    Args:
        folder: the tables.
        position: sample token -> row of the sample in the index.
        times: sample token -> timestamp in microseconds.
    """
    annotations = _where_present(folder, _TABLE, Annotation)
    read = rows if annotations else _where_present
    categories, attributes = list(read(folder, "category", Named)), list(read(folder, "attribute", Named))
    category_index = {row.token: i for i, row in enumerate(categories)}
    attribute_index = {row.token: i for i, row in enumerate(attributes)}
    instances = list(rows(folder, "instance", Instance)) if annotations else []
    instance_index = {row.token: i for i, row in enumerate(instances)}
    instance_category = follow(
        category_index, [(row.token, row.category_token) for row in instances], folder, "instance", "category"
    )
    instance = follow(
        instance_index, [(row.token, row.instance_token) for row in annotations], folder, _TABLE, "instance"
    )
    check_unique([row.token for row in annotations], folder, _TABLE)
    check_unique([row.token for row in instances], folder, "instance")
    links = [(row.token, row.sample_token) for row in annotations]
    sample = np.array(follow(position, links, folder, _TABLE, "sample"), np.int64)
    tokens, path = [row.token for row in annotations], folder / f"{_TABLE}.json"
    columns: dict[str, NDArray[Any]] = {
        "box_category": np.array([instance_category[i] for i in instance], np.int16),
        "box_instance": np.array(instance, np.int64),
        "box_translation": numbers([row.translation for row in annotations], 3, tokens, path),
        "box_size": _sizes(annotations, tokens, path),
        "box_rotation": numbers([row.rotation for row in annotations], 4, tokens, path),
        "box_velocity": _velocities(folder, annotations, times),
        "box_points": _points(annotations),
        "box_attribute": _attributes(folder, annotations, attribute_index),
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


def _where_present(folder: DataPath, table: str, row_type: type[Row]) -> list[Row]:
    """The rows of a table; none where it is absent."""
    return list(rows(folder, table, row_type)) if (folder / f"{table}.json").exists() else []


def _points(annotations: list[Annotation]) -> NDArray[np.int32]:
    """(G, 2) lidar and radar points inside each box, whatever is written for unknown as -1."""
    pairs = [(row.num_lidar_pts, row.num_radar_pts) for row in annotations]
    capped = [[max(-1, min(number, 2**31 - 1)) for number in pair] for pair in pairs]
    return np.array(capped, np.int32).reshape(-1, 2)


def _sizes(annotations: list[Annotation], tokens: list[str], path: DataPath) -> NDArray[np.float64]:
    sizes = numbers([row.size for row in annotations], 3, tokens, path)
    bad = np.flatnonzero((sizes <= 0).any(1))
    if len(bad):
        raise DataError(f"row with token {tokens[bad[0]]} has a size that is not positive", where=str(path))
    return sizes


def _attributes(folder: DataPath, annotations: list[Annotation], attribute_index: dict[str, int]) -> NDArray[np.int16]:
    """(G,) index of each box's attribute, -1 for none."""
    attribute = np.full(len(annotations), -1, np.int16)
    annotated = [i for i, row in enumerate(annotations) if row.attribute_tokens]
    for i in annotated:
        count = len(annotations[i].attribute_tokens)
        if count > 1:
            message = f"row with token {annotations[i].token} has {count} attributes, at most 1 is allowed"
            cure = "Leave one in attribute_tokens"
            raise DataError(message, where=str(folder / f"{_TABLE}.json"), cure=cure)
    links = [(annotations[i].token, annotations[i].attribute_tokens[0]) for i in annotated]
    attribute[annotated] = follow(attribute_index, links, folder, _TABLE, "attribute")
    return attribute


def _velocities(folder: DataPath, annotations: list[Annotation], times: dict[str, float]) -> NDArray[np.float64]:
    """(G, 3) velocity [m/s] by central differences between an object's neighbouring annotations, one-sided at its ends.

    NaN where there is no neighbour, or none near enough in time.
    """
    by_token = {row.token: row for row in annotations}
    before = follow(by_token, [(row.token, row.prev or row.token) for row in annotations], folder, _TABLE, _TABLE)
    after = follow(by_token, [(row.token, row.next or row.token) for row in annotations], folder, _TABLE, _TABLE)
    # converted to seconds before the subtraction, as in the devkit; the other order differs in the last bits
    elapsed = _column([1e-6 * times[row.sample_token] for row in after], ()) - _column(
        [1e-6 * times[row.sample_token] for row in before], ()
    )
    displacement = _column([row.translation for row in after], (3,)) - _column(
        [row.translation for row in before], (3,)
    )
    speeds = velocity(
        displacement, elapsed, np.array([bool(row.prev) + bool(row.next) for row in annotations], np.int64)
    )
    # unlike the devkit: where time does not go on between two annotations, there is no velocity to train on
    return np.where((elapsed > 0)[:, None], speeds, np.nan)


def velocity(
    displacement: NDArray[np.float64], elapsed: NDArray[np.float64], neighbours: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n, d) velocity [m/s] between the neighbouring annotations of an object.

    NaN where there is no neighbour or the neighbours are too far apart in time. As the devkit does, it divides by
    whatever time lies between the two, none or negative too.

    Args:
        displacement: (n, d) from the earlier annotation to the later one [m].
        elapsed: (n,) time between them [s].
        neighbours: (n,) number of neighbours: 1 at the ends of a track, 2 in its middle, 0 for a single annotation.
    """
    valid = (neighbours > 0) & (elapsed <= MAX_TIME_DIFFERENCE * np.maximum(neighbours, 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(valid[:, None], displacement / elapsed[:, None], np.nan)


def _column(values: list[Any], shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.array(values, np.float64).reshape(-1, *shape)
