"""Samples as they were recorded, for drawing: pictures, lidar points and annotations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.boxes import extents_from_wlh
from portbev.errors import DataError
from portbev.geometry import inverse_pose, pose, quaternion_yaw, transform
from portbev.paths import DataPath
from portbev.viz.palette import Classes, Colour
from portbev.viz.scene import Array, Camera, Objects, View
from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.samples.images import open_image
from portbev_nuscenes.samples.lidar import read_lidar
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.rows import LIDAR

LAYOUT = (
    ("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"),
    ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"),
)
"""The cameras as the car sees them: rows of a picture."""

COLOURS: dict[str, Colour] = {
    "car": (255, 163, 51),
    "truck": (255, 92, 77),
    "bus": (255, 224, 77),
    "trailer": (201, 139, 255),
    "construction_vehicle": (163, 224, 72),
    "pedestrian": (77, 181, 255),
    "motorcycle": (255, 95, 176),
    "bicycle": (31, 224, 192),
    "traffic_cone": (232, 205, 165),
    "barrier": (159, 179, 200),
}
CLASSES = Classes.of(DETECTION_CLASSES, COLOURS)


class Recorded:
    """Reads samples of a version by their row of its index.

    Args:
        lidar_values: float32 values of a point in the lidar files.
        cure: what to do about a picture that cannot be read.
    """

    def __init__(self, root: DataPath, index: Index, *, lidar_values: int, cure: str) -> None:
        self.root, self.index, self._lidar_values, self._cure = root, index, lidar_values, cure

    def scene(self, sample: int) -> str:
        """The name of the sample's scene."""
        return str(self.index.scenes[self.index.sample_scene[sample]].decode())

    def view(self, sample: int, *, truth: Objects, predictions: Objects, with_points: bool = True) -> View:
        """Read a sample; boxes are in the global frame.

        Raises:
            DataError: a picture or the point cloud is missing or damaged.
        """
        index = self.index
        cameras = {name: self._camera(sample, name) for row in LAYOUT for name in row}
        present = LIDAR.encode() in index.channels
        lidar = int(index.key_frames[sample, index.channel(LIDAR)]) if present else -1
        reference = lidar if lidar >= 0 else int(index.key_frames[sample].max())
        return View(
            token=index.token(sample),
            scene=self.scene(sample),
            cameras={name: camera for name, camera in cameras.items() if camera is not None},
            layout=LAYOUT,
            points=self._points(lidar if with_points else -1),
            global2ego=inverse_pose(self._ego(reference)),
            truth=truth,
            predictions=predictions,
            classes=CLASSES,
        )

    def boxes(self, rows: NDArray[np.int64], labels: NDArray[np.int64]) -> Objects:
        """Annotations by their rows of the index, in the global frame."""
        index = self.index
        velocity = index.box_velocity[rows, :2]
        return Objects.of(
            global_boxes(index.box_translation[rows], index.box_size[rows], index.box_rotation[rows], velocity), labels
        )

    def _camera(self, sample: int, name: str) -> Camera | None:
        if name.encode() not in self.index.channels:
            return None
        frame = int(self.index.key_frames[sample, self.index.channel(name)])
        if frame < 0:
            return None
        calibration = self.index.frame_calibration[frame]
        sensor2global = self._ego(frame) @ self._sensor(calibration)
        intrinsic = self.index.calibration_intrinsic[calibration]
        return Camera(name, self._image(frame), intrinsic, inverse_pose(sensor2global))

    def _image(self, frame: int) -> NDArray[np.uint8]:
        path = self.root / self.index.frame_file[frame].decode()
        try:
            return np.asarray(open_image(path))
        except DataError as error:
            raise DataError(error.what, where=error.where, cure=self._cure) from error

    def _points(self, frame: int) -> Array:
        if frame < 0:
            return np.zeros((0, 3))
        points = read_lidar(self.root / self.index.frame_file[frame].decode(), values=self._lidar_values)
        return transform(self._sensor(self.index.frame_calibration[frame]), points[:, :3])

    def _ego(self, frame: int) -> Array:
        return pose(self.index.frame_rotation[frame], self.index.frame_translation[frame])

    def _sensor(self, calibration: int) -> Array:
        return pose(self.index.calibration_rotation[calibration], self.index.calibration_translation[calibration])


def global_boxes(translation: Array, size: Array, rotation: Array, velocity: Array) -> Array:
    """Boxes (n, 9) of the tables' columns."""
    heading = np.asarray(quaternion_yaw(np.asarray(rotation)))[:, None]
    return np.concatenate([translation, extents_from_wlh(size), heading, velocity], 1)
