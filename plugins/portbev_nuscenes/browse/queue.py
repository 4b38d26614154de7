"""Queues of frames as a training sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.data.pictures.photometric import words
from portbev.data.pictures.shown import masked, shown
from portbev.viz.scene import Objects, View
from portbev.viz.seen import Seen, Strip, counted_as, draw_seen, look_name
from portbev_nuscenes.batches import QueueSample
from portbev_nuscenes.browse.annotated import Annotated, cameras_of
from portbev_nuscenes.config import NuscenesQueueData
from portbev_nuscenes.recorded import CLASSES
from portbev_nuscenes.samples.queue import QueueDataset

Array = NDArray[np.float64]

_LIDAR2EGO = np.array([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
"""From x right, y forward to x forward, y left: the bird's-eye view is drawn with forward up."""


class QueueBrowser(Annotated[QueueDataset]):
    """Draws what the model gets of each sample; the frame is that of LIDAR_TOP."""

    def seen(self, index: int, epoch: int) -> Seen:
        """Pictures, matrices and boxes of the sample itself: the current frame large, its history in rows below."""
        section, sample = self.dataset.section, self.dataset.sample(index, epoch)
        current = self.dataset.tokens.index(sample["token"])
        view = seen_view(sample, section, self.scene(current))
        positions = self.dataset.draw_queue(index, epoch) if self.dataset.part == "train" else [index]
        history = [
            Strip(
                tuple(_picture(picture, section) for picture in sample["images"][t]),
                tuple(f"frame {t - len(positions) + 1}  {_short(camera)}" for camera in section.cameras),
            )
            for t in range(len(positions) - 1)
        ]
        name = look_name(self.dataset.part, epoch)
        image = draw_seen(
            view, title=name, subtitle=self._subtitle(current), strips=history, counts=counted_as(self.dataset.part)
        )
        return Seen(name, image, tuple(self._told(sample, positions, index, epoch)))

    def _told(self, sample: QueueSample, positions: list[int], index: int, epoch: int) -> list[str]:
        names = self.dataset.section.cameras
        lines = [f"queue: {', '.join(self._frame(position, positions[-1]) for position in positions)}"]
        if sample["token"] != self.dataset.tokens[index]:
            lines.append(f"in place of {self.dataset.tokens[index]}, whose queue has a frame without boxes")
        if not sample["continues"][1:].all():
            lines.append("a frame of the history is not of this scene, or the same again: the model starts anew there")
        drawn = self.dataset.distortions(len(positions), index, epoch)
        for t, frame in enumerate(drawn):
            said = "; ".join(f"{_short(name)} {words(one)}" for name, one in zip(names, frame, strict=True))
            lines.append(f"frame {t - len(positions) + 1}: {said}")
        mask = self.dataset.grid_mask(sample["images"].shape[-2:], index, epoch)
        if not self.dataset.augmented:
            lines.append("not augmented")
        return [*lines, *([] if mask is None else [f"current frame: {masked(mask)}"])]

    def _frame(self, position: int, current: int) -> str:
        """A frame of the queue, by its time before the current one."""
        times = self.dataset.index.sample_time[self.dataset.samples[[position, current]]]
        return f"{self.dataset.tokens[position][:8]} ({(times[0] - times[1]) / 1e6:+.1f} s)"


def seen_view(sample: QueueSample, section: NuscenesQueueData, scene: str) -> View:
    """The sample's current frame as a view whose global frame is that of LIDAR_TOP."""
    intrinsics, poses = [], []
    for matrix in sample["lidar2img"][-1]:
        intrinsic, lidar2camera = decomposed(matrix)
        intrinsics.append(intrinsic)
        poses.append(lidar2camera)
    pictures = [_picture(picture, section) for picture in sample["images"][-1]]
    cameras, layout = cameras_of(section.cameras, pictures, intrinsics, poses)
    return View(
        token=sample["token"],
        scene=scene,
        cameras=cameras,
        layout=layout,
        points=np.zeros((0, 3)),
        global2ego=_LIDAR2EGO,
        truth=Objects.of(np.zeros((0, 9)), np.zeros(0, np.int64)),
        predictions=Objects.of(sample["boxes"], sample["labels"]),
        classes=CLASSES,
    )


def decomposed(lidar2img: Array) -> tuple[Array, Array]:
    """Intrinsics (3, 3) and rigid pose (4, 4) from the lidar to the camera, whose product is ``lidar2img`` (4, 4)."""
    from scipy.linalg import rq

    intrinsic, rotation = rq(lidar2img[:3, :3])
    signs = np.diag(np.sign(np.diag(intrinsic)))
    intrinsic, rotation = intrinsic @ signs, signs @ rotation
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, np.linalg.solve(intrinsic, lidar2img[:3, 3])
    return intrinsic, pose


def _picture(image: NDArray[np.float32], section: NuscenesQueueData) -> NDArray[np.uint8]:
    return shown(image, section.mean, section.std, bgr=section.bgr)


def _short(camera: str) -> str:
    return camera.removeprefix("CAM_").replace("_", " ").lower()
