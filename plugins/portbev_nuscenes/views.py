"""Samples of nuScenes data with a submission's detections."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portbev.boxes import extents_from_wlh
from portbev.data.root import open_root
from portbev.errors import DataError, PortbevError
from portbev.geometry import inverse_pose, pose, quaternion_yaw, transform
from portbev.runs.evaluated import Evaluated
from portbev.viz.canvas import Image
from portbev.viz.palette import Classes, Colour
from portbev.viz.scene import Array, Camera, Objects, View
from portbev.viz.surround import draw_view
from portbev.viz.views import Views
from portbev_nuscenes.classes import DETECTION_CLASSES, Categories, counts
from portbev_nuscenes.metrics.arrays import PredictionArrays
from portbev_nuscenes.metrics.submission import load_predictions
from portbev_nuscenes.samples.images import open_image
from portbev_nuscenes.samples.lidar import read_lidar
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.tables.index import Index

LIDAR = "LIDAR_TOP"

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


class NuscenesViews(Views):
    """Samples of a submission beside their nuScenes data.

    Args:
        categories, min_points: which annotations are drawn (see :class:`portbev_nuscenes.config.Tables`).
        lidar_values: float32 values of a point in the lidar files.
    """

    def __init__(
        self,
        root: Path,
        index: Index,
        predictions: PredictionArrays,
        title: str = "",
        *,
        categories: Categories | None = None,
        min_points: int = 1,
        lidar_values: int = 5,
    ) -> None:
        self.root, self.index, self.predictions, self.title = root, index, predictions, title
        self._labels = (categories or Categories()).labels(name.decode() for name in index.categories.tolist())
        self._counted = counts(index.box_points, min_points)
        self._lidar_values = lidar_values
        order = {token.decode(): place for place, token in enumerate(index.sample_token.tolist())}
        for token in predictions.sample_tokens:
            if token not in order:
                raise PortbevError(
                    f"sample {token} of the predictions is not in the data",
                    where=str(root),
                    cure="Give the data that the predictions were made on: --data-root, --version",
                )
        self._place = {token: order[token] for token in sorted(predictions.sample_tokens, key=order.__getitem__)}
        self._submitted = {token: place for place, token in enumerate(predictions.sample_tokens)}

    @property
    def tokens(self) -> list[str]:
        """Samples that have predictions, by scene and time."""
        return list(self._place)

    def draw(self, token: str, score: float) -> tuple[str, Image]:
        view = self.view(token)
        return f"{view.scene}_{token}", draw_view(view, title=self.title, score=score)

    def view(self, token: str) -> View:
        """Read one sample.

        Raises:
            PortbevError: the predictions have no such sample.
            DataError: a picture or the point cloud is missing or damaged.
        """
        self.check(token)
        sample, index = self._place[token], self.index
        cameras = {name: self._camera(sample, name) for row in LAYOUT for name in row}
        present = LIDAR.encode() in index.channels
        lidar = int(index.key_frames[sample, index.channel(LIDAR)]) if present else -1
        reference = lidar if lidar >= 0 else int(index.key_frames[sample].max())
        return View(
            token=token,
            scene=index.scenes[index.sample_scene[sample]].decode(),
            cameras={name: camera for name, camera in cameras.items() if camera is not None},
            layout=LAYOUT,
            points=self._points(lidar),
            global2ego=inverse_pose(self._ego(reference)),
            truth=self._truth(sample),
            predictions=self._found(self._submitted[token]),
            classes=CLASSES,
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
            cure = "Restore the file, or name other samples: --tokens"
            raise DataError(error.what, where=error.where, cure=cure) from error

    def _points(self, frame: int) -> Array:
        if frame < 0:
            return np.zeros((0, 3))
        points = read_lidar(self.root / self.index.frame_file[frame].decode(), values=self._lidar_values)
        return transform(self._sensor(self.index.frame_calibration[frame]), points[:, :3])

    def _ego(self, frame: int) -> Array:
        return pose(self.index.frame_rotation[frame], self.index.frame_translation[frame])

    def _sensor(self, calibration: int) -> Array:
        return pose(self.index.calibration_rotation[calibration], self.index.calibration_translation[calibration])

    def _truth(self, sample: int) -> Objects:
        index = self.index
        rows = np.arange(index.box_start[sample], index.box_start[sample + 1])
        rows = rows[self._counted[rows] & (self._labels[index.box_category[rows]] >= 0)]
        labels = self._labels[index.box_category[rows]]
        velocity = index.box_velocity[rows, :2]
        boxes = _boxes(index.box_translation[rows], index.box_size[rows], index.box_rotation[rows], velocity)
        return Objects(boxes, labels, np.ones(len(rows)))

    def _found(self, place: int) -> Objects:
        all_ = self.predictions
        rows = np.flatnonzero(all_.sample_index == place)
        boxes = _boxes(all_.translation[rows], all_.size[rows], all_.rotation[rows], all_.velocity[rows])
        return Objects(boxes, all_.label[rows].astype(np.int64), all_.score[rows])


def open_nuscenes(evaluated: Evaluated, data_root: str | Path | None, version: str | None) -> NuscenesViews:
    """The samples of an evaluation's predictions; see :func:`portbev.viz.open_views`."""
    root = open_root(data_root or evaluated.root)
    index = load_index(root, version or evaluated.version)
    section, predictions = evaluated.section, load_predictions(evaluated.predictions)
    return NuscenesViews(
        root,
        index,
        predictions,
        evaluated.title,
        categories=Categories(section.get("categories")),
        min_points=section.get("min_points", 1),
        lidar_values=section.get("lidar_values", 5),
    )


def _boxes(translation: Array, size: Array, rotation: Array, velocity: Array) -> Array:
    heading = np.asarray(quaternion_yaw(np.asarray(rotation)))[:, None]
    return np.concatenate([translation, extents_from_wlh(size), heading, velocity], 1)
