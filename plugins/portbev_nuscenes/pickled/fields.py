"""The fields of an entry of infos beside the tables, for each of the forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.geometry import inverse_pose
from portbev_nuscenes.pickled.conventions import ORDERS, Layout
from portbev_nuscenes.pickled.differences import METRES, SECONDS, Differences, numbers_of
from portbev_nuscenes.pickled.expected import Boxes, Frame, Tables, neighbour
from portbev_nuscenes.pickled.infos import Infos
from portbev_nuscenes.tables.rows import LIDAR

_SPEED, _RADIANS = 1e-2, 1e-3


def box_gap(rows: NDArray[np.float64], expected: NDArray[np.float64], layout: Layout) -> NDArray[np.float64]:
    """(n, 7) differences of boxes in the lidar's frame, the yaw's within half a turn."""
    wanted = expected.copy()
    if layout == "mmdet3d-0":
        wanted[:, 6] = -expected[:, 6] - np.pi / 2
    else:
        wanted[:, 3:5] = expected[:, [4, 3]]
    gap = rows[:, :7] - wanted
    gap[:, 6] = (gap[:, 6] + np.pi) % (2 * np.pi) - np.pi
    return gap


def _compare_boxes(
    differences: Differences,
    token: str,
    name: str,
    rows: NDArray[np.float64] | None,
    boxes: Boxes,
    layout: Layout | None,
) -> bool:
    """Compare boxes in the lidar's frame; whether there are as many."""
    count = len(boxes.names)
    if rows is None or (rows.size and (rows.ndim != 2 or rows.shape[1] < 7)):
        differences.add(token, name, "holds no rows of 7 numbers")
        return False
    if len(rows) != count:
        differences.add(token, name, f"has {len(rows)} boxes, the tables {count}")
        return False
    if not count:
        return True
    gap = np.abs(box_gap(rows, boxes.lidar, layout or "mmdet3d-0"))
    for columns, part, unit, tolerance in (
        (slice(0, 3), "centre", "m", METRES),
        (slice(3, 6), "size", "m", METRES),
        (slice(6, 7), "yaw", "rad", _RADIANS),
    ):
        farthest = float(gap[:, columns].max())
        if not farthest <= tolerance:
            place = int(np.nanargmax(gap[:, columns].max(1)))
            what = f"({part}) of box {place} ({boxes.names[place]}) is {farthest:.4g} {unit} off"
            differences.add(token, name, what, farthest)
    return True


def compare_old(
    differences: Differences, entry: Mapping[str, Any], token: str, sample: int, tables: Tables, layout: Layout | None
) -> None:
    """Infos of mmdet3d 0.x, and BEVFormer's, which have the neighbours' tokens too."""
    differences.microseconds(token, "timestamp", entry["timestamp"], tables.index.sample_time[sample])
    lidar = tables.frame(sample, LIDAR)
    if lidar is not None:
        differences.file(token, "lidar_path", entry.get("lidar_path"), lidar.file)
        _poses(differences, token, "", entry, ("lidar2ego", "ego2global"), lidar)
    cameras = entry.get("cams")
    for channel, camera in cameras.items() if isinstance(cameras, Mapping) else ():
        frame, name = tables.frame(sample, str(channel)), f"cams.{channel}"
        if frame is None or not isinstance(camera, Mapping):
            differences.add(token, name, "is no camera of the tables")
            continue
        differences.file(token, f"{name}.data_path", camera.get("data_path"), frame.file)
        _poses(differences, token, f"{name}.", camera, ("sensor2ego", "ego2global"), frame)
        differences.pixels(token, f"{name}.cam_intrinsic", camera.get("cam_intrinsic"), frame.intrinsic)
        if lidar is not None and "sensor2lidar_rotation" in camera:
            matrix = inverse_pose(lidar.ego2global @ lidar.sensor2ego) @ frame.ego2global @ frame.sensor2ego
            rotation, translation = camera["sensor2lidar_rotation"], camera.get("sensor2lidar_translation")
            differences.angle(token, f"{name}.sensor2lidar_rotation", rotation, matrix[:3, :3])
            differences.metres(token, f"{name}.sensor2lidar_translation", translation, matrix[:3, 3])
    for name, step in (("prev", -1), ("next", 1)):
        if name in entry:
            differences.equal(token, name, entry[name], neighbour(tables, sample, step))
    if "gt_boxes" not in entry:
        return
    boxes = tables.boxes(sample)
    if not _compare_boxes(differences, token, "gt_boxes", numbers_of(entry["gt_boxes"]), boxes, layout):
        return
    names = entry.get("gt_names")
    differences.equal(token, "gt_names", [str(name) for name in names] if names is not None else None, boxes.names)
    if boxes.names:
        _speeds(differences, token, "gt_velocity", entry.get("gt_velocity"), boxes.lidar_velocity)
        for name, column in (("num_lidar_pts", 0), ("num_radar_pts", 1)):
            differences.distance(token, name, entry.get(name), boxes.points[:, column], 0.0, "points")
        if "valid_flag" in entry:
            valid = boxes.points.sum(1) > 0
            differences.distance(token, "valid_flag", entry["valid_flag"], valid.astype(float), 0.0, "")


def compare_new(
    differences: Differences,
    infos: Infos,
    entry: Mapping[str, Any],
    token: str,
    sample: int,
    tables: Tables,
    layout: Layout | None,
) -> None:
    """Infos of mmdet3d 1.1 and later: matrices in float32, times in seconds, names of files without folders."""
    differences.distance(token, "timestamp", entry["timestamp"], tables.index.sample_time[sample] * 1e-6, SECONDS, "s")
    lidar = tables.frame(sample, LIDAR)
    points = entry.get("lidar_points")
    if lidar is not None and isinstance(points, Mapping):
        differences.file(token, "lidar_points.lidar_path", points.get("lidar_path"), lidar.file)
        _matrix(differences, token, "lidar_points.lidar2ego", points.get("lidar2ego"), lidar.sensor2ego)
        _matrix(differences, token, "ego2global", entry.get("ego2global"), lidar.ego2global)
    images = entry.get("images")
    for channel, camera in images.items() if isinstance(images, Mapping) else ():
        frame, name = tables.frame(sample, str(channel)), f"images.{channel}"
        if frame is None or not isinstance(camera, Mapping):
            differences.add(token, name, "is no camera of the tables")
            continue
        differences.file(token, f"{name}.img_path", camera.get("img_path"), frame.file)
        differences.pixels(token, f"{name}.cam2img", camera.get("cam2img"), frame.intrinsic)
        if "cam2ego" in camera:
            _matrix(differences, token, f"{name}.cam2ego", camera["cam2ego"], frame.sensor2ego)
        if lidar is not None and "lidar2cam" in camera:
            matrix = inverse_pose(frame.ego2global @ frame.sensor2ego) @ lidar.ego2global @ lidar.sensor2ego
            _matrix(differences, token, f"{name}.lidar2cam", camera["lidar2cam"], matrix)
    if not isinstance(entry.get("instances"), list):
        return
    boxes = tables.boxes(sample)
    rows = instances(entry, "bbox_3d") if entry["instances"] else np.zeros((0, 7))
    if not _compare_boxes(differences, token, "instances.bbox_3d", rows, boxes, layout) or not boxes.names:
        return
    labels = _labels(infos)
    wanted = [labels.get(name, -1) for name in boxes.names]
    differences.equal(
        token, "instances.bbox_label_3d", [one.get("bbox_label_3d") for one in entry["instances"]], wanted
    )
    _speeds(differences, token, "instances.velocity", instances(entry, "velocity"), boxes.lidar_velocity)
    for name, column in (("num_lidar_pts", 0), ("num_radar_pts", 1)):
        differences.distance(token, f"instances.{name}", instances(entry, name), boxes.points[:, column], 0.0, "points")


def _labels(infos: Infos) -> dict[str, int]:
    """Label of each class: as the file says, else in mmdet3d's order."""
    said = infos.meta.get("categories")
    if isinstance(said, Mapping) and all(isinstance(label, int) for label in said.values()):
        return {str(name): label for name, label in said.items()}
    return {name: label for label, name in enumerate(ORDERS["mmdet3d"])}


def instances(entry: Mapping[str, Any], key: str) -> NDArray[np.float64] | None:
    instances = entry.get("instances")
    if not isinstance(instances, list) or not all(isinstance(one, Mapping) for one in instances):
        return None
    parts = [numbers_of(one.get(key)) for one in instances]
    if not parts or any(part is None or part.shape != parts[0].shape for part in parts):  # type: ignore[union-attr]
        return None
    return np.stack([part for part in parts if part is not None])


def compare_bevdepth(
    differences: Differences, entry: Mapping[str, Any], token: str, sample: int, tables: Tables
) -> None:
    """BEVDepth's infos, which copy rows of the tables."""
    differences.microseconds(token, "timestamp", entry["timestamp"], tables.index.sample_time[sample])
    for group in ("cam_infos", "lidar_infos"):
        sensors = entry.get(group)
        for channel, sensor in sensors.items() if isinstance(sensors, Mapping) else ():
            frame, name = tables.frame(sample, str(channel)), f"{group}.{channel}"
            if frame is None or not isinstance(sensor, Mapping):
                differences.add(token, name, "is no sensor of the tables")
                continue
            differences.file(token, f"{name}.filename", sensor.get("filename"), frame.file)
            differences.microseconds(token, f"{name}.timestamp", sensor.get("timestamp"), frame.time)
            for part, translation, rotation in (
                ("ego_pose", frame.ego_translation, frame.ego_rotation),
                ("calibrated_sensor", frame.sensor_translation, frame.sensor_rotation),
            ):
                row = _mapping(sensor.get(part))
                differences.distance(
                    token, f"{name}.{part}.translation", row.get("translation"), translation, METRES, "m"
                )
                differences.angle(token, f"{name}.{part}.rotation", row.get("rotation"), rotation)
            if group == "cam_infos":
                intrinsic = _mapping(sensor.get("calibrated_sensor")).get("camera_intrinsic")
                differences.pixels(token, f"{name}.camera_intrinsic", intrinsic, frame.intrinsic)
    rows = entry.get("ann_infos")
    if not isinstance(rows, list):
        return
    boxes = tables.boxes(sample)
    if len(rows) != len(boxes.names):
        differences.add(token, "ann_infos", f"has {len(rows)} boxes, the tables {len(boxes.names)}")
        return
    velocity = np.where(np.isnan(boxes.velocity).any(1, keepdims=True), 0.0, boxes.velocity)
    for place, row in enumerate(map(_mapping, rows)):
        for key, wanted, tolerance, unit in (
            ("translation", boxes.translation[place], METRES, "m"),
            ("size", boxes.size[place], METRES, "m"),
            ("velocity", velocity[place], _SPEED, "m/s"),
            ("num_lidar_pts", boxes.points[place, 0], 0.0, "points"),
        ):
            differences.distance(token, f"ann_infos.{key}", row.get(key), wanted, tolerance, unit)


def _poses(
    differences: Differences, token: str, prefix: str, entry: Mapping[str, Any], names: tuple[str, str], frame: Frame
) -> None:
    """Compare ``NAME_translation`` and ``NAME_rotation`` of the sensor's calibration and of the ego pose."""
    values = ((frame.sensor_translation, frame.sensor_rotation), (frame.ego_translation, frame.ego_rotation))
    for name, (translation, rotation) in zip(names, values, strict=True):
        place = f"{prefix}{name}"
        differences.metres(token, f"{place}_translation", entry.get(f"{name}_translation"), translation)
        differences.angle(token, f"{place}_rotation", entry.get(f"{name}_rotation"), rotation)


def _matrix(differences: Differences, token: str, name: str, value: Any, expected: NDArray[np.float64]) -> None:
    numbers = numbers_of(value)
    if numbers is None or numbers.shape != (4, 4):
        differences.distance(token, name, value, expected, 0.0, "")
        return
    differences.angle(token, f"{name} (rotation)", numbers[:3, :3].tolist(), expected[:3, :3])
    differences.metres(token, f"{name} (translation)", numbers[:3, 3].tolist(), expected[:3, 3])


def _speeds(differences: Differences, token: str, name: str, value: Any, expected: NDArray[np.float64]) -> None:
    """Compare velocities; unknown ones are NaN in both."""
    if isinstance(value, np.ndarray) or value is not None:
        differences.distance(token, name, value, expected, _SPEED, "m/s")


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
