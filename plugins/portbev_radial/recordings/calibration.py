"""The camera's calibration, read from a pickled dict without executing code."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CameraCalibration:
    """A camera with lens distortion, placed in the world: X right, Y forward, Z up, origin at the radar.

    Attributes:
        intrinsic: (3, 3) pixels, pixel centres at whole numbers.
        distortion: (5,) k1 k2 p1 p2 k3 as OpenCV has them.
        rotation: (3,) rotation vector from the world to the camera (x right, y down, z forward).
        translation: (3,) metres.
    """

    intrinsic: Array
    distortion: Array
    rotation: Array
    translation: Array

    @property
    def position(self) -> Array:
        """(3,) position of the camera in the world, metres."""
        return -self.matrix.T @ self.translation

    @property
    def matrix(self) -> Array:
        """(3, 3) rotation from the world to the camera."""
        return np.asarray(cv2.Rodrigues(self.rotation)[0], np.float64)

    def scaled(self, factor: float) -> CameraCalibration:
        """The calibration for a picture resized by ``factor``; as in mmdet3d, it multiplies the first two rows of K."""
        intrinsic = self.intrinsic.copy()
        intrinsic[:2] *= factor
        return CameraCalibration(intrinsic, self.distortion, self.rotation, self.translation)

    def project(self, points: Array) -> Array:
        """(n, 3) u, v [pixels], depth [m] of points (n, 3) in the radar frame: x forward, y left, z up."""
        world = np.stack([-points[:, 1], points[:, 0], points[:, 2]], 1).astype(np.float64)
        depth = world @ self.matrix[2] + self.translation[2]
        if not len(world):
            return np.empty((0, 3))
        pixels, _ = cv2.projectPoints(world, self.rotation, self.translation, self.intrinsic, self.distortion)
        return np.concatenate([np.asarray(pixels, np.float64).reshape(-1, 2), depth[:, None]], 1)

    def as_dict(self) -> dict[str, dict[str, Array]]:
        """The calibration in the layout of ``camera_calib.npy``."""
        return {
            "intrinsic": {"camera_matrix": self.intrinsic, "distortion_coefficients": self.distortion},
            "extrinsic": {"rotation_vector": self.rotation, "translation_vector": self.translation},
        }


def read_camera_calibration(path: DataPath) -> CameraCalibration:
    """Read ``camera_calib.npy``.

    Raises:
        DataError: missing or damaged file, one that would execute code, or arrays of other shapes.
    """
    from portbev.signal.calibration import read_pickled_dict

    if not path.exists():
        cure = "It comes with the data set; without a camera set data.camera=false and model.camera=false"
        raise DataError("the camera's calibration is missing", where=str(path), cure=cure)
    table = read_pickled_dict(path)
    return CameraCalibration(
        _array(path, table, "intrinsic", "camera_matrix", (3, 3)),
        _array(path, table, "intrinsic", "distortion_coefficients", (5,)),
        _array(path, table, "extrinsic", "rotation_vector", (3,)),
        _array(path, table, "extrinsic", "translation_vector", (3,)),
    )


def _array(path: DataPath, table: object, group: str, name: str, shape: tuple[int, ...]) -> Array:
    """A checked array of the calibration; ``path`` is for the message of an error."""
    section = table.get(group) if isinstance(table, dict) else None
    value = section.get(name) if isinstance(section, dict) else None
    if value is None:
        raise DataError(f"no [{group!r}][{name!r}] in the camera's calibration", where=str(path))
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.size != int(np.prod(shape)) or not np.isfinite(array).all():
        message = f"[{group!r}][{name!r}] has shape {array.shape}, expected {shape}, finite"
        raise DataError(message, where=str(path))
    return array.reshape(shape).copy()
