"""Infos of generated scenes, as the converters of mmdet3d, BEVFormer and BEVDepth make them of nuScenes' tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from standin_pickles import VERSION, quaternions

from portbev.geometry import inverse_pose, pose, quaternion_inverse, quaternion_product, transform
from portbev_nuscenes.classes import CATEGORY_TO_CLASS
from portbev_nuscenes.tables.index import Index

CAMERAS = ("CAM_FRONT", "CAM_FRONT_RIGHT", "CAM_FRONT_LEFT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
ORDER = (
    *("car", "truck", "trailer", "bus", "construction_vehicle", "bicycle", "motorcycle"),
    *("pedestrian", "traffic_cone", "barrier"),
)


def annotations(index: Index, sample: int, *, new: bool = False) -> dict[str, Any]:
    """``gt_*`` of a sample; ``new``: length before width, and yaw from x towards y."""
    lidar_t, lidar_r, ego_t, ego_r, _ = quaternions(index, sample, "LIDAR_TOP")
    to_global = pose(ego_r, ego_t) @ pose(lidar_r, lidar_t)
    rows = slice(*index.box_start[sample : sample + 2])
    back = quaternion_product(quaternion_inverse(lidar_r), quaternion_inverse(ego_r))
    yaw = np.array([devkit_yaw(quaternion_product(back, one)) for one in index.box_rotation[rows]])
    wlh = index.box_size[rows]
    flat = index.box_velocity[rows] * [1, 1, 0]
    names = [index.categories[one].decode() for one in index.box_category[rows]]
    points = index.box_points[rows]
    centre = transform(inverse_pose(to_global), index.box_translation[rows])
    numbers = [wlh[:, [1, 0, 2]], yaw[:, None]] if new else [wlh, -yaw[:, None] - np.pi / 2]
    return {
        "gt_boxes": np.concatenate([centre, *numbers], 1),
        "gt_names": np.array([CATEGORY_TO_CLASS.get(name, name) for name in names]),
        "gt_velocity": (flat @ to_global[:3, :3])[:, :2],
        "num_lidar_pts": points[:, 0].astype(np.int64),
        "num_radar_pts": points[:, 1].astype(np.int64),
        "valid_flag": points.sum(1) > 0,
    }


def devkit_yaw(q: np.ndarray) -> float:
    w, x, y, z = q / np.linalg.norm(q)
    return math.atan2(2 * (w * z - x * y), 1 - 2 * (y * y + z * z))


def temporal(index: Index, *, new: bool = False) -> dict[str, Any]:
    """BEVFormer's ``nuscenes_infos_temporal_*.pkl``; with ``new``, the boxes of mmdet3d 1.0.0rc."""
    infos = []
    for sample in range(len(index.sample_token)):
        lidar_t, lidar_r, ego_t, ego_r, frame = quaternions(index, sample, "LIDAR_TOP")
        to_global = pose(ego_r, ego_t) @ pose(lidar_r, lidar_t)
        cams = {}
        for channel in CAMERAS:
            sensor_t, sensor_r, its_ego_t, its_ego_r, row = quaternions(index, sample, channel)
            to_lidar = inverse_pose(to_global) @ pose(its_ego_r, its_ego_t) @ pose(sensor_r, sensor_t)
            cams[channel] = {
                "data_path": f"./data/nuscenes/{index.frame_file[row].decode()}",
                "type": channel,
                "sample_data_token": "0" * 32,
                "sensor2ego_translation": sensor_t,
                "sensor2ego_rotation": sensor_r,
                "ego2global_translation": its_ego_t,
                "ego2global_rotation": its_ego_r,
                "timestamp": int(index.frame_time[row]),
                "sensor2lidar_rotation": to_lidar[:3, :3],
                "sensor2lidar_translation": to_lidar[:3, 3],
                "cam_intrinsic": index.calibration_intrinsic[index.frame_calibration[row]],
            }
        infos.append(
            {
                "lidar_path": f"./data/nuscenes/{index.frame_file[frame].decode()}",
                "token": index.token(sample),
                "prev": near(index, sample, -1),
                "next": near(index, sample, 1),
                "can_bus": np.zeros(18),
                "frame_idx": 0,
                "sweeps": [],
                "cams": cams,
                "scene_token": "0" * 32,
                "lidar2ego_translation": lidar_t,
                "lidar2ego_rotation": lidar_r,
                "ego2global_translation": ego_t,
                "ego2global_rotation": ego_r,
                "timestamp": int(index.sample_time[sample]),
                **annotations(index, sample, new=new),
            }
        )
    return {"infos": infos, "metadata": {"version": VERSION}}


def near(index: Index, sample: int, step: int) -> str:
    other, scenes = sample + step, index.sample_scene
    return index.token(other) if 0 <= other < len(scenes) and scenes[other] == scenes[sample] else ""


def data_list(index: Index) -> dict[str, Any]:
    """What mmdet3d 1.1's ``create_data.py`` writes: matrices rounded to float32, seconds, names without folders."""
    entries = []
    for number, old in enumerate(temporal(index, new=True)["infos"]):
        matrix = pose(old["lidar2ego_rotation"], old["lidar2ego_translation"])
        images = {}
        for channel, cam in old["cams"].items():
            to_lidar = np.eye(4)
            to_lidar[:3, :3], to_lidar[:3, 3] = cam["sensor2lidar_rotation"], cam["sensor2lidar_translation"]
            images[channel] = {
                "img_path": cam["data_path"].rpartition("/")[2],
                "cam2img": cam["cam_intrinsic"].tolist(),
                "cam2ego": rounded(pose(cam["sensor2ego_rotation"], cam["sensor2ego_translation"])),
                "lidar2cam": rounded(inverse_pose(to_lidar)),
                "timestamp": cam["timestamp"] / 1e6,
            }
        instances = [
            {
                "bbox_3d": box.tolist(),
                "bbox_label_3d": ORDER.index(str(name)) if name in ORDER else -1,
                "velocity": velocity.tolist(),
                "num_lidar_pts": int(lidar),
                "num_radar_pts": int(radar),
                "bbox_3d_isvalid": bool(valid),
            }
            for box, name, velocity, lidar, radar, valid in zip(
                *(old[key] for key in ("gt_boxes", "gt_names", "gt_velocity", "num_lidar_pts", "num_radar_pts")),
                old["valid_flag"],
                strict=True,
            )
        ]
        entries.append(
            {
                "sample_idx": number,
                "token": old["token"],
                "timestamp": old["timestamp"] / 1e6,
                "ego2global": rounded(pose(old["ego2global_rotation"], old["ego2global_translation"])),
                "images": images,
                "lidar_points": {
                    "num_pts_feats": 5,
                    "lidar_path": old["lidar_path"].rpartition("/")[2],
                    "lidar2ego": rounded(matrix),
                },
                "instances": instances,
            }
        )
    categories = {name: label for label, name in enumerate(ORDER)}
    return {"metainfo": {"categories": categories, "dataset": "nuscenes", "version": VERSION}, "data_list": entries}


def rounded(matrix: np.ndarray) -> list[Any]:
    listed: list[Any] = matrix.astype(np.float32).tolist()
    return listed


def gen_info(index: Index) -> list[dict[str, Any]]:
    """BEVDepth's ``nuscenes_12hz_infos_*.pkl``: copies of the tables' rows."""
    entries = []
    for sample in range(len(index.sample_token)):
        groups: dict[str, dict[str, Any]] = {"cam_infos": {}, "lidar_infos": {}}
        for channel in (*CAMERAS, "LIDAR_TOP"):
            sensor_t, sensor_r, ego_t, ego_r, row = quaternions(index, sample, channel)
            intrinsic = index.calibration_intrinsic[index.frame_calibration[row]].tolist()
            groups["lidar_infos" if channel == "LIDAR_TOP" else "cam_infos"][channel] = {
                "sample_token": index.token(sample),
                "timestamp": int(index.frame_time[row]),
                "filename": index.frame_file[row].decode(),
                "ego_pose": {"translation": ego_t, "rotation": ego_r},
                "calibrated_sensor": {"translation": sensor_t, "rotation": sensor_r, "camera_intrinsic": intrinsic},
            }
        rows = range(*index.box_start[sample : sample + 2])
        boxes = [
            {
                "translation": index.box_translation[row].tolist(),
                "size": index.box_size[row].tolist(),
                "rotation": index.box_rotation[row].tolist(),
                "category_name": index.categories[index.box_category[row]].decode(),
                "num_lidar_pts": int(index.box_points[row, 0]),
                "velocity": np.zeros(3) if np.isnan(index.box_velocity[row]).any() else index.box_velocity[row],
            }
            for row in rows
        ]
        entries.append(
            {
                "sample_token": index.token(sample),
                "timestamp": int(index.sample_time[sample]),
                "scene_token": "0" * 32,
                "cam_sweeps": [],
                "lidar_sweeps": [],
                "ann_infos": boxes,
                **groups,
            }
        )
    return entries
