"""Ground truth from the nuScenes tables.

Only the fields that the evaluation needs are decoded, and only the rows of the split are kept, so that the full
trainval tables are read in bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from portbev.errors import DataError
from portbev.paths import DataPath, as_path
from portbev_nuscenes.classes import ATTRIBUTES, BICYCLE_RACK, DETECTION_CLASSES, Categories, counts
from portbev_nuscenes.metrics.arrays import BoxArrays, GroundTruthArrays
from portbev_nuscenes.tables.annotations import velocity
from portbev_nuscenes.tables.jsonrows import no_collection, read_rows, table_names
from portbev_nuscenes.tables.rows import (
    Annotation,
    EgoPosition,
    FrameLink,
    Instance,
    Named,
    Sample,
    Sensor,
    SensorLink,
    reference_channel,
)
from portbev_nuscenes.tables.splits import scene_names

_LABEL = {name: index for index, name in enumerate(DETECTION_CLASSES)}
_RACK = len(DETECTION_CLASSES)


@no_collection()
def load_ground_truth(
    data_root: DataPath | str,
    version: str,
    split: str,
    *,
    categories: Categories | None = None,
    min_points: int = 1,
) -> GroundTruthArrays:
    """Ground truth of a split from the tables in ``<data_root>/<version>``.

    Velocities are central differences between the neighbouring annotations of an instance, one-sided at the ends of its
    track. They are NaN without a neighbour, or over more than 1.5 s (one-sided) or 3 s (central).

    Args:
        data_root: folder that holds the version's folder; may be read-only.
        version: name of the table folder, ``v1.0-trainval`` and the like.
        split: an official split or one of the version's ``splits.json``.
        categories: which class the boxes of each category have; the official ones by default.
        min_points: points that a box needs to count (see :func:`portbev_nuscenes.classes.counts`).

    Raises:
        DataError: a missing or damaged table or field, a split without samples, a sample without a key frame of
            the reference sensor, an object with more than one attribute.
    """
    folder = as_path(data_root) / version
    if not folder.is_dir():
        raise DataError(
            f"no table folder {version!r}",
            where=str(data_root),
            cure="Give the folder that holds it as --data-root, and its name as the version",
        )
    samples, timestamps = _samples(folder, scene_names(split, data_root, version), split)
    ego = _ego_translation(folder, samples)
    annotations = _annotations(folder, samples, split)
    labels = _labels(folder, categories or Categories())
    rows, racks = _split_racks(annotations, labels, folder)
    by_token = {row.token: row for row in annotations}
    outside = _outside_neighbours(folder, rows, by_token)
    by_token |= outside
    timestamps |= _timestamps(folder, [row.sample_token for row in outside.values()])
    return GroundTruthArrays(
        sample_tokens=tuple(samples),
        ego_translation=ego,
        sample_index=np.array([samples[row.sample_token] for row in rows], np.int64),
        label=np.array([labels[row.instance_token] for row in rows], np.int8),
        translation=np.array([row.translation for row in rows], np.float64),
        size=np.array([row.size for row in rows], np.float64),
        rotation=np.array([row.rotation for row in rows], np.float64),
        velocity=_velocities(rows, by_token, timestamps, folder),
        attribute=_attributes(rows, folder),
        num_pts=_points(rows, min_points),
        racks=BoxArrays(
            np.array([samples[row.sample_token] for row in racks], np.int64),
            np.array([row.translation for row in racks], np.float64),
            np.array([row.size for row in racks], np.float64),
            np.array([row.rotation for row in racks], np.float64),
        ),
    )


def _points(rows: list[Annotation], min_points: int) -> np.ndarray:
    """(G,) lidar plus radar points of each box; 0 for one that does not count, at least 1 for one that does."""
    points = np.array([(row.num_lidar_pts, row.num_radar_pts) for row in rows], np.int64).reshape(-1, 2)
    return np.where(counts(points, min_points), np.maximum(points.sum(1), 1), 0)


def _samples(folder: DataPath, scenes: Iterable[str], split: str) -> tuple[dict[str, int], dict[str, float]]:
    """sample token -> index in table order, and sample token -> timestamp [us], of the samples of the scenes."""
    split_scenes = set(scenes)
    tokens = {
        token for token, name in table_names(read_rows(folder / "scene.json", Named)).items() if name in split_scenes
    }
    rows = [row for block in read_rows(folder / "sample.json", Sample) for row in block if row.scene_token in tokens]
    if not rows:
        raise DataError(f"split {split!r} has no samples in this version", where=str(folder / "sample.json"))
    return {row.token: index for index, row in enumerate(rows)}, {row.token: row.timestamp for row in rows}


def _timestamps(folder: DataPath, tokens: Iterable[str]) -> dict[str, float]:
    """sample token -> timestamp [us] of the given samples."""
    token_set = set(tokens)
    if not token_set:
        return {}
    rows = read_rows(folder / "sample.json", Sample)
    return {row.token: row.timestamp for block in rows for row in block if row.token in token_set}


def _ego_translation(folder: DataPath, samples: dict[str, int]) -> np.ndarray:
    """(S, 3) ego position at each sample's key frame of the reference sensor."""
    sensors = {row.token: row for block in read_rows(folder / "sensor.json", Sensor) for row in block}
    reference = reference_channel(
        [row.channel for row in sensors.values()],
        [row.channel for row in sensors.values() if row.modality == "camera"],
    )
    calibrated = {
        row.token
        for block in read_rows(folder / "calibrated_sensor.json", SensorLink)
        for row in block
        if row.sensor_token in sensors and sensors[row.sensor_token].channel == reference
    }
    pose_of = {
        row.sample_token: row.ego_pose_token
        for block in read_rows(folder / "sample_data.json", FrameLink)
        for row in block
        if row.is_key_frame and row.calibrated_sensor_token in calibrated and row.sample_token in samples
    }
    without = [token for token in samples if token not in pose_of]
    if without:
        raise DataError(
            f"{len(without)} samples have no {reference} key frame, the first is {without[0]}",
            where=str(folder / "sample_data.json"),
        )
    pose_tokens = set(pose_of.values())
    position = {
        row.token: row.translation
        for block in read_rows(folder / "ego_pose.json", EgoPosition)
        for row in block
        if row.token in pose_tokens
    }
    try:
        return np.array([position[pose_of[token]] for token in samples], np.float64).reshape(-1, 3)
    except KeyError as error:
        raise DataError(f"no ego pose {error.args[0]}", where=str(folder / "ego_pose.json")) from error


def _annotations(folder: DataPath, samples: dict[str, int], split: str) -> list[Annotation]:
    """The split's annotations, in table order."""
    path = folder / "sample_annotation.json"
    rows = [row for block in read_rows(path, Annotation) for row in block if row.sample_token in samples]
    if not rows:
        cure = "Results can be scored on a split with annotations only: name another --split or --version"
        raise DataError(f"split {split!r} has no annotations to compare with", where=str(path), cure=cure)
    return rows


def _outside_neighbours(
    folder: DataPath, rows: list[Annotation], by_token: dict[str, Annotation]
) -> dict[str, Annotation]:
    """Neighbours in time of the split's annotations that are not in the split. The official data has none."""
    neighbour_tokens = {token for row in rows for token in (row.prev, row.next) if token and token not in by_token}
    if not neighbour_tokens:
        return {}
    path = folder / "sample_annotation.json"
    neighbours = {
        row.token: row for block in read_rows(path, Annotation) for row in block if row.token in neighbour_tokens
    }
    if len(neighbours) < len(neighbour_tokens):
        raise DataError(
            f"no annotation {min(neighbour_tokens - set(neighbours))}, which another names as neighbour",
            where=str(path),
        )
    return neighbours


def _labels(folder: DataPath, categories: Categories) -> dict[str, int]:
    """instance token -> label, or ``_RACK`` for a bicycle rack; other instances are left out."""
    names = table_names(read_rows(folder / "category.json", Named))
    label_of_category = {token: _RACK for token, name in names.items() if name == BICYCLE_RACK}
    label_of_category |= {token: _LABEL[label] for token, name in names.items() if (label := categories.class_of(name))}
    labels = {}
    for block in read_rows(folder / "instance.json", Instance):
        for row in block:
            if row.category_token in label_of_category:
                labels[row.token] = label_of_category[row.category_token]
            elif row.category_token not in names:
                raise DataError(
                    f"instance {row.token} has the unknown category {row.category_token!r}",
                    where=str(folder / "instance.json"),
                )
    return labels


def _split_racks(
    annotations: list[Annotation], labels: dict[str, int], folder: DataPath
) -> tuple[list[Annotation], list[Annotation]]:
    """The annotations of the ten classes, and those of bicycle racks.

    Raises:
        DataError: a size that is not positive, or a number that is not finite.
    """
    rows: list[Annotation] = []
    racks: list[Annotation] = []
    where = str(folder / "sample_annotation.json")
    for row in annotations:
        label = labels.get(row.instance_token, -1)
        if label < 0:
            continue
        if not math.isfinite(sum(row.translation) + sum(row.size) + sum(row.rotation)):
            raise DataError(f"annotation {row.token} has a number that is not finite", where=where)
        if label == _RACK:
            racks.append(row)
        elif min(row.size) > 0:
            rows.append(row)
        else:
            raise DataError(f"annotation {row.token} has a size that is not positive", where=where)
    return rows, racks


def _velocities(
    rows: list[Annotation], by_token: dict[str, Annotation], timestamps: dict[str, float], folder: DataPath
) -> np.ndarray:
    """(G, 2) velocity in x and y of the global frame [m/s], NaN where unknown."""
    if not rows:
        return np.zeros((0, 2))
    first = [by_token[row.prev] if row.prev else row for row in rows]
    last = [by_token[row.next] if row.next else row for row in rows]
    try:
        times = [np.array([timestamps[row.sample_token] for row in ends], np.float64) for ends in (first, last)]
    except KeyError as error:
        raise DataError(f"no sample {error.args[0]}", where=str(folder / "sample.json")) from error
    # converted to seconds before the subtraction, as in the devkit; the other order differs in the last bits
    elapsed = 1e-6 * times[1] - 1e-6 * times[0]
    displacement = np.array([row.translation[:2] for row in last]) - np.array([row.translation[:2] for row in first])
    return velocity(displacement, elapsed, np.array([bool(row.prev) + bool(row.next) for row in rows], np.int64))


def _attributes(rows: list[Annotation], folder: DataPath) -> np.ndarray:
    """(G,) index of each object's attribute, -1 for none."""
    index = {name: position for position, name in enumerate(ATTRIBUTES)}
    names = table_names(read_rows(folder / "attribute.json", Named))
    where = str(folder / "sample_annotation.json")
    attributes = np.full(len(rows), -1, np.int8)
    for position, row in enumerate(rows):
        if not row.attribute_tokens:
            continue
        if len(row.attribute_tokens) > 1:
            count = len(row.attribute_tokens)
            raise DataError(f"annotation {row.token} has {count} attributes, at most 1", where=where)
        name = names.get(row.attribute_tokens[0])
        if name not in index:
            unknown = name or row.attribute_tokens[0]
            raise DataError(f"annotation {row.token} has the unknown attribute {unknown!r}", where=where)
        attributes[position] = index[name]
    return attributes
