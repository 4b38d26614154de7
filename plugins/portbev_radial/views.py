"""Samples of radar and camera with the detections of an evaluation."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.data.pictures.pixels import swap_red_blue
from portbev.data.root import open_root
from portbev.errors import DataError, PortbevError
from portbev.runs.evaluated import Evaluated
from portbev.signal import read_calibration
from portbev.viz.canvas import Image
from portbev.viz.scene import Array, Camera, Objects
from portbev.viz.views import Views
from portbev_radial.classes import CAR
from portbev_radial.config import RadialData
from portbev_radial.dataset import RadialDataset
from portbev_radial.metrics import read_boxes
from portbev_radial.page import AzimuthMap, RadialView, draw_radial
from portbev_radial.recordings.calibration import CameraCalibration
from portbev_radial.sources import Source

_TO_WORLD = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
"""From x forward, y left, z up to the calibration's world: X right, Y forward, Z up."""


class RadialViews(Views):
    """Samples of a results file beside their data.

    Args:
        dataset: frames with pictures; ``radar`` may be ``ra`` (a map is drawn) or ``none``.
        found: rows [x y z_bottom dx dy dz yaw score] of each frame.
    """

    def __init__(self, dataset: RadialDataset, found: dict[str, Array], title: str = "") -> None:
        self.dataset, self.title = dataset, title
        place = {token: index for index, token in enumerate(dataset.tokens)}
        for token in found:
            if token not in place:
                cure = "Give the data that the predictions were made on: --data-root"
                what = f"frame {token} of the predictions is not in the data"
                raise PortbevError(what, where=str(dataset.root), cure=cure)
        self._place = {token: place[token] for token in sorted(found, key=place.__getitem__)}
        self._found = found

    @property
    def tokens(self) -> list[str]:
        return list(self._place)

    def draw(self, token: str, score: float) -> tuple[str, Image]:
        return token, draw_radial(self.view(token), title=self.title, score=score)

    def view(self, token: str) -> RadialView:
        """Read one sample; raises as :meth:`draw`."""
        self.check(token)
        index = self._place[token]
        source = self.dataset.source
        number = int(token)
        truth, labels = self.dataset.truth(index)
        return RadialView(
            token=token,
            camera=undistorted(swap_red_blue(source.picture(number)), source.camera),
            radar=azimuth_map(source, number),
            reach=source.description.range_max,
            truth=Objects(truth, labels, np.ones(len(truth))),
            found=_objects(self._found[token]),
        )


def azimuth_map(source: Source, number: int) -> AzimuthMap | None:
    """The range-azimuth map of a sample; None if the source is not opened for it."""
    if source.radar_kind != "ra":
        return None
    azimuth = read_calibration(source.table_file, source.description).azimuth
    order = np.argsort(azimuth, kind="stable")
    amplitude = source.radar(number).astype(np.float64)
    return AzimuthMap(amplitude[:, order], azimuth[order], source.description.range_max)


def open_radial(evaluated: Evaluated, data_root: str | Path | None, version: str | None) -> RadialViews:
    """The samples of an evaluation's predictions; see :func:`portbev.viz.open_views`.

    Raises:
        PortbevError: a version, of which there is one.
    """
    if version is not None:
        raise PortbevError("this data has no versions", where="--version", cure="Leave it out")
    root = open_root(data_root or evaluated.root)
    found = read_boxes(evaluated.predictions, scored=True)
    own = RadialData.model_validate({"kind": "radial", **evaluated.section})
    changes = {"eval_split": evaluated.split, "camera": True, "signal_on": "loader", "radar": "ra"}
    section, title = own.model_copy(update=changes), evaluated.title
    try:
        dataset = RadialDataset(section, root, "eval", seed=0)
    except DataError as error:  # no usable calibration table, or a converted layout without azimuth maps
        title += f"   no range-azimuth map: {error.what}"
        dataset = RadialDataset(section.model_copy(update={"radar": "none"}), root, "eval", seed=0)
    return RadialViews(dataset, dict(zip(found.frames, found.arrays(), strict=True)), title)


def undistorted(picture: NDArray[np.uint8], calibration: CameraCalibration) -> Camera:
    """The picture (H, W, 3) RGB without the lens's distortion, so that straight edges of boxes stay straight."""
    straight = cv2.undistort(picture, calibration.intrinsic, calibration.distortion)
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = calibration.matrix @ _TO_WORLD, calibration.translation
    return Camera("camera", np.asarray(straight, np.uint8), calibration.intrinsic, matrix)


def _objects(rows: Array) -> Objects:
    boxes = np.concatenate([rows[:, :7], np.zeros((len(rows), 2))], 1)
    boxes[:, 2] += boxes[:, 5] / 2
    return Objects(boxes, np.full(len(rows), CAR, np.int64), rows[:, 7])
