"""``results.pkl`` of mmdet3d's test script: a list with the boxes of each sample, as an array of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import CheckpointError, ResultsError
from portbev.geometry import pose, quaternion_product, transform, yaw_quaternion
from portbev.nn.names import tensor_of
from portbev.paths import DataPath
from portbev.tensorfiles.reading import read_file
from portbev.tensorfiles.standins import StandIn, entries
from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.metrics.arrays import PredictionArrays
from portbev_nuscenes.pickled.conventions import (
    Convention,
    Layout,
    chosen_classes,
    chosen_layout,
    layout_of,
    recognise_convention,
)
from portbev_nuscenes.pickled.order import tokens_of
from portbev_nuscenes.submission import MOVING, attribute_of_speed
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.rows import LIDAR

_NESTED = ("pts_bbox", "pred_instances_3d", "img_bbox")
_BOXES = ("boxes_3d", "bboxes_3d")
_SUBMISSION = "Have the tool that made it write a submission: tools/test.py --format-only"


@dataclass(frozen=True)
class Found:
    """The boxes of one sample as the file has them.

    Attributes:
        boxes: (n, 9). scores, labels: (n,).
        kind: full name of the boxes' class.
        facts: what else the element says: names of files, of the sample.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    kind: str
    facts: Mapping[str, Any]


def read_results(path: Path) -> list[Found]:
    """The elements of a pickle of results, in their order.

    Raises:
        ResultsError: damaged, or no list of boxes in the lidar's frame; says which element.
    """
    try:
        content = read_file(path)
    except CheckpointError as error:
        raise ResultsError(error.what, where=error.where, cure=error.cure) from error
    if isinstance(content, Mapping) and isinstance(content.get("bbox_results"), Sequence):
        content = content["bbox_results"]
    if not isinstance(content, Sequence) or isinstance(content, (str, bytes)):
        raise ResultsError("is no list of results", where=str(path), cure=_SUBMISSION)
    if not content:
        raise ResultsError("is a list of no results", where=str(path), cure=_SUBMISSION)
    return [_element(element, f"{path}: element {number}") for number, element in enumerate(content)]


def _element(element: object, where: str) -> Found:
    facts = entries(element) or {}
    inner: Mapping[str, Any] = facts
    for key in _NESTED:
        if (nested := entries(facts.get(key))) and any(name in _fields(nested) for name in _BOXES):
            inner = _fields(nested)
            break
    else:
        inner = _fields(facts)
    name = next((name for name in _BOXES if name in inner), None)
    if name is None:
        keys = ", ".join(list(facts)[:5]) or type(element).__name__
        raise ResultsError(f"has no boxes_3d (it has {keys})", where=where, cure=_SUBMISSION)
    boxes, kind = _boxes(inner[name], f"{where}: {name}")
    scores = _numbers(inner.get("scores_3d"), f"{where}: scores_3d").reshape(-1)
    labels = _numbers(inner.get("labels_3d"), f"{where}: labels_3d").reshape(-1)
    if not len(boxes) == len(scores) == len(labels):
        raise ResultsError(f"has {len(boxes)} boxes, {len(scores)} scores and {len(labels)} labels", where=where)
    return Found(boxes, scores, labels.astype(np.int64), kind, facts)


def _fields(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """The fields of mmengine's InstanceData, which it keeps under names of their own, or the mapping."""
    return {str(key).removeprefix("_"): item for key, item in value.items()}


def _boxes(value: object, where: str) -> tuple[NDArray[np.float64], str]:
    if not isinstance(value, StandIn):
        what = f"is a {type(value).__name__} instead of LiDARInstance3DBoxes, so that its frame is not known"
        raise ResultsError(what, where=where, cure=_SUBMISSION)
    last = value.kind.rpartition(".")[2]
    if last != "LiDARInstance3DBoxes":
        raise ResultsError(f"holds {last}, and only boxes in the lidar's frame are read", where=where, cure=_SUBMISSION)
    rows = _numbers((entries(value) or {}).get("tensor"), where)
    if rows.size == 0:
        return np.zeros((0, 9)), value.kind
    if rows.ndim != 2 or rows.shape[1] != 9:
        columns = rows.shape[-1] if rows.ndim else 1
        what = f"has {columns} numbers a box, nuScenes' have 9 (with the velocity)"
        raise ResultsError(what, where=where, cure="Results of another data set need a file of its own benchmark")
    return rows, value.kind


def _numbers(value: object, where: str) -> NDArray[np.float64]:
    if isinstance(value, (list, tuple)) and all(isinstance(one, (int, float)) for one in value):
        return np.asarray(value, np.float64)
    tensor = tensor_of(value)
    if tensor is None:
        raise ResultsError("holds no numbers", where=where, cure=_SUBMISSION)
    numbers: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return numbers


def load_results(
    path: Path,
    data_root: DataPath,
    version: str,
    split: str,
    *,
    infos: Path | None = None,
    boxes: str | None = None,
    classes: str | None = None,
) -> tuple[PredictionArrays, list[str]]:
    """A pickle of results as predictions in the global frame, and what a person should know of how it was read.

    Args:
        infos: the file of infos in whose order the results are; by default the samples of the split by time, as mmdet3d
            takes them, unless the elements name their samples.
        boxes: layout of the boxes, of :data:`portbev_nuscenes.pickled.conventions.LAYOUTS`; by default what shows.
        classes: order of the classes; by default what shows.

    Raises:
        ResultsError: a file that cannot be read, or results that cannot be told whose they are.
        DataError: tables that cannot be used.
    """
    layout, order = chosen_layout(boxes), chosen_classes(classes)
    found = read_results(path)
    index = load_index(data_root, version)
    tokens, notes = tokens_of([one.facts for one in found], index, (data_root, version, split), infos, str(path))
    kinds = {one.kind for one in found}
    known: set[Layout] = {one for one in map(layout_of, kinds) if one is not None}
    layout = layout or (known.pop() if len(known) == 1 and len(kinds) == 1 else None)
    rows = np.concatenate([one.boxes for one in found])
    labels, scores = (np.concatenate([getattr(one, name) for one in found]) for name in ("labels", "scores"))
    try:
        convention = recognise_convention(rows[:, 3:6], labels, scores, layout, order)
    except ResultsError as error:
        raise ResultsError(error.what, where=error.where or str(path), cure=error.cure) from error
    counts = [len(one.boxes) for one in found]
    poses = [_lidar_poses(index, token, str(path)) for token in tokens]
    starts = np.cumsum([0, *counts])
    parts = [_in_global(rows[a:b], convention, pair) for a, b, pair in zip(starts[:-1], starts[1:], poses, strict=True)]
    renamed = np.array([DETECTION_CLASSES.index(name) for name in convention.classes], np.int8)[labels]
    centre, size, rotation, velocity = (np.concatenate([part[column] for part in parts]) for column in range(4))
    speed = np.hypot(velocity[:, 0], velocity[:, 1])
    predictions = PredictionArrays(
        tuple(tokens),
        np.repeat(np.arange(len(tokens)), counts),
        renamed,
        scores,
        centre,
        size,
        rotation,
        velocity,
        attribute_of_speed(renamed.astype(np.int64), speed > MOVING).astype(np.int8),
        source=str(path),
    )
    return predictions, [*notes, *convention.notes]


Poses = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]


def _lidar_poses(index: Index, token: str, where: str) -> Poses:
    """Pose of the lidar in the global frame (4, 4), and its rotation as two quaternions (ego, lidar)."""
    rows = np.flatnonzero(index.sample_token == token.encode())
    if not len(rows):
        raise ResultsError(f"sample {token} is not in the tables", where=where, cure="Check --version and --split")
    frame = int(index.key_frames[rows[0], index.channel(LIDAR)])
    if frame < 0:
        raise ResultsError(f"sample {token} has no key frame of {LIDAR}", where=where)
    calibration = int(index.frame_calibration[frame])
    ego, lidar = index.frame_rotation[frame], index.calibration_rotation[calibration]
    ego, lidar = ego / np.linalg.norm(ego), lidar / np.linalg.norm(lidar)
    matrix = pose(ego, index.frame_translation[frame]) @ pose(lidar, index.calibration_translation[calibration])
    return matrix, ego, lidar


def _in_global(rows: NDArray[np.float64], convention: Convention, poses: Poses) -> tuple[NDArray[Any], ...]:
    """Centre, size (width, length, height), rotation and velocity of boxes, global frame."""
    matrix, ego, lidar = poses
    centre = rows[:, :3].copy()
    centre[:, 2] += rows[:, 5] / 2
    old = convention.layout == "mmdet3d-0"
    size = rows[:, 3:6] if old else rows[:, [4, 3, 5]]
    yaw = -rows[:, 6] - np.pi / 2 if old else rows[:, 6]
    rotation = quaternion_product(quaternion_product(ego, lidar), yaw_quaternion(yaw))
    velocity = np.concatenate([rows[:, 7:9], np.zeros((len(rows), 1))], 1) @ matrix[:3, :3].T
    return transform(matrix, centre), size, rotation, velocity[:, :2]
