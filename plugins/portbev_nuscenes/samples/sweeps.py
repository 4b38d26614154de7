"""nuScenes detection samples for BEVDepth-like models."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portbev.data.base import Part
from portbev.geometry import inverse_pose, mean_pose, pose
from portbev.rng import generator
from portbev_nuscenes.batches import SweepBatch, SweepSample, collate_sweeps
from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.config import NuscenesData
from portbev_nuscenes.samples import augment, lidar
from portbev_nuscenes.samples.images import normalise, read_image
from portbev_nuscenes.samples.keyframes import KeyFrames
from portbev_nuscenes.samples.sampling import balanced_indices

Array = NDArray[np.float64]
Transforms = list[augment.ImageTransform]


class SweepDataset(KeyFrames):
    """The samples of one split, augmented for training and unchanged for evaluation.

    Every random draw of a sample depends on (seed, epoch, index) alone: not on the order of the calls, nor on workers
    or ranks. With CBGS a training sample may come several times.
    """

    def __init__(self, section: NuscenesData, root: Path, part: Part, *, seed: int) -> None:
        self.section, self.with_depth = section, part == "train" and section.depth_labels
        super().__init__(section, root, part, seed=seed, lidar=self.with_depth)
        if part == "train" and section.cbgs:
            self.samples = self._balanced()
            self.tokens = [self._token(sample) for sample in self.samples]

    def _balanced(self) -> NDArray[np.int64]:
        """The split's samples resampled by CBGS, so that the classes have about equal shares."""
        classes_of = [self._classes_in(sample) for sample in self.samples]
        absent = [
            name for label, name in enumerate(DETECTION_CLASSES) if not any(label in labels for labels in classes_of)
        ]
        if absent:
            self.notes.append(f"CBGS: no sample of {self.split} contains {', '.join(absent)}")
        return self.samples[balanced_indices(classes_of, len(DETECTION_CLASSES), generator(self.seed, "cbgs"))]

    def _classes_in(self, sample: int) -> set[int]:
        start, end = self._index.box_start[sample : sample + 2]
        return set(self._labels[self._index.box_category[start:end]].tolist()) - {-1}

    @staticmethod
    def collate(samples: Sequence[SweepSample]) -> SweepBatch:
        """A batch of at least one sample."""
        return collate_sweeps(samples)

    def streams(self) -> None:
        """None: samples may be evaluated in any order."""

    def sample(self, index: int, epoch: int) -> SweepSample:
        """The sample at ``index`` as it is seen in ``epoch``.

        Raises:
            DataError: a file that is missing or damaged.
        """
        key = int(self.samples[index])
        transforms, bev = self._draw(index, epoch)
        sweeps = [self._sweep(key, steps) for steps in self.section.sweeps]
        frames = self._index.key_frames[np.array(sweeps)[:, None], np.array(self._cameras)]
        ego2global = self._ego2global(key)
        boxes, labels = self._boxes(key, ego2global)
        sensor2ego, intrin, sensor2sensor = self._calibrated(frames)
        ida = np.stack([augment.image_matrix(transform, self.section.image.final_size) for transform in transforms])
        return SweepSample(
            images=self._images(sweeps, frames, transforms),
            sensor2ego=sensor2ego.astype(np.float32),
            intrin=intrin.astype(np.float32),
            ida=np.broadcast_to(ida, intrin.shape).astype(np.float32),
            sensor2sensor=sensor2sensor.astype(np.float32),
            bda=augment.bev_matrix(bev).astype(np.float32),
            depth=self._depth(key, transforms) if self.with_depth else None,
            boxes=augment.transform_bev_boxes(boxes, bev).astype(np.float32),
            labels=labels,
            token=self.tokens[index],
            frame2global=ego2global,
        )

    def _draw(self, index: int, epoch: int) -> tuple[Transforms, augment.BevTransform]:
        if not self.augmented:
            return [augment.middle_image(self.section.image)] * len(self._cameras), augment.IDENTITY_BEV
        rng = generator(self.seed, "augment", epoch, index)
        images = [augment.draw_image(self.section.image, rng) for _ in self._cameras]
        return images, augment.draw_bev(self.section.bev, rng)

    def _sweep(self, key: int, steps: int) -> int:
        """The key frame ``steps`` earlier; at the beginning of a scene the current one instead."""
        previous = self._index.previous(key, steps)
        return key if previous is None else previous

    def _ego2global(self, key: int) -> Array:
        frames = self._index.key_frames[key, self._cameras]
        return mean_pose(self._index.frame_rotation[frames], self._index.frame_translation[frames])

    def _calibrated(self, frames: NDArray[np.int64]) -> tuple[Array, Array, Array]:
        """sensor2ego, intrin, sensor2sensor (S, N, 4, 4) of frames (S, N), key frame first.

        As in the original, the ego frame of a camera is that at its own exposure in the key frame. Those of the cameras
        of a sample differ by the ego's motion between the exposures.
        """
        index = self._index
        calibration = index.frame_calibration[frames]
        camera2ego = pose(index.calibration_rotation[calibration], index.calibration_translation[calibration])
        ego2global = pose(index.frame_rotation[frames], index.frame_translation[frames])
        sensor2ego = inverse_pose(ego2global[0]) @ ego2global @ camera2ego
        intrin = np.zeros_like(sensor2ego)
        intrin[..., :3, :3] = index.calibration_intrinsic[calibration]
        intrin[..., 3, 3] = 1
        return sensor2ego, intrin, inverse_pose(inverse_pose(camera2ego[0]) @ sensor2ego)

    def _images(self, sweeps: list[int], frames: NDArray[np.int64], transforms: Transforms) -> NDArray[np.float32]:
        aug = self.section.image
        images = np.empty((*frames.shape, 3, *aug.final_size), np.float32)
        for s, sample in enumerate(sweeps):
            if sample in sweeps[:s]:  # a repeated key frame has the same pixels
                images[s] = images[sweeps.index(sample)]
                continue
            for n, transform in enumerate(transforms):
                source = read_image(self._file(frames[s, n]), aug.source_size, token=self._token(sample))
                images[s, n] = normalise(np.asarray(augment.transform_image(source, transform, aug.final_size)), aug)
        return images

    def _depth(self, key: int, transforms: Transforms) -> NDArray[np.float32]:
        """Depth labels (N, H, W) of the key frame from its lidar sweep. They do not depend on the BEV augmentation."""
        index, aug = self._index, self.section.image
        frame = int(index.key_frames[key, self._lidar])
        points = lidar.read_lidar(self._file(frame), token=self._token(key))[:, :3].T
        points = lidar.rotate_shift(points, *self._calibration(frame))
        points = lidar.rotate_shift(points, index.frame_rotation[frame], index.frame_translation[frame])
        depth = np.empty((len(self._cameras), *aug.final_size), np.float32)
        for n, transform in enumerate(transforms):
            camera = int(index.key_frames[key, self._cameras[n]])
            seen = lidar.shift_rotate_back(points, index.frame_rotation[camera], index.frame_translation[camera])
            seen = lidar.shift_rotate_back(seen, *self._calibration(camera))
            intrinsic = index.calibration_intrinsic[index.frame_calibration[camera]]
            pixels = lidar.visible_points(seen, intrinsic, aug.source_size)
            depth[n] = augment.transform_depth(pixels, transform, aug.final_size)
        return depth

    def _calibration(self, frame: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        row = self._index.frame_calibration[frame]
        return self._index.calibration_rotation[row], self._index.calibration_translation[row]
