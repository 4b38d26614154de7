"""nuScenes detection samples for BEVDepth-like models."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.data.base import Part
from portbev.geometry import inverse_pose, mean_pose, pose, transform
from portbev.paths import DataPath
from portbev.rng import generator
from portbev_nuscenes.batches import SweepBatch, SweepSample, collate_sweeps
from portbev_nuscenes.checks import files
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.classes import DETECTION_CLASSES
from portbev_nuscenes.config import NuscenesData
from portbev_nuscenes.samples import augment, lidar, summary
from portbev_nuscenes.samples.images import normalise, read_image
from portbev_nuscenes.samples.lookedover import LookedOver
from portbev_nuscenes.samples.sampling import balanced_indices
from portbev_nuscenes.tables.chain import order_problems

Array = NDArray[np.float64]
Transforms = list[augment.ImageTransform]


class SweepDataset(LookedOver):
    """The samples of one split, augmented for training and unchanged for evaluation.

    Every random draw of a sample depends on (seed, epoch, index) alone: not on the order of the calls, nor on workers
    or ranks. With CBGS a training sample may come several times.
    """

    no_lidar = "Set data.depth_labels=false: the depth of pictures is then learnt from the boxes alone"

    def __init__(self, section: NuscenesData, root: DataPath, part: Part, *, seed: int) -> None:
        self.section, self.with_depth = section, part == "train" and section.depth_labels
        super().__init__(section, root, part, seed=seed, lidar=self.with_depth)
        self._note_absent_history()
        if part == "train" and section.cbgs:
            self.samples = self._balanced()
            self.tokens = [self._token(sample) for sample in self.samples]

    def problems(self) -> list[Problem]:
        order = order_problems(self._index, self.samples) if len(self.section.sweeps) > 1 else []
        return order + super().problems() + self._mostly_black()

    def check(self) -> None:
        super().check()
        if self.with_depth:
            lost, points = files.not_finite(self._lidar_files(), self.section.lidar_values)
            if lost:
                self.notes.append(f"lidar: {lost} of {points} points looked at are not finite and left out")

    def _mostly_black(self) -> list[Problem]:
        """The problem that pictures hardly fill the input in training while they do in evaluation."""
        aug = self.section.image
        training, evaluation = summary.padding(aug)
        if not self.augmented or training <= summary.BLACK_IN_TRAINING or evaluation >= summary.FULL_IN_EVALUATION:
            return []
        (height, width), (final_height, final_width) = aug.source_size, aug.final_size
        low, high = summary.fitting_resize(aug)
        what = (
            f"{training:.0%} of each training picture is black padding and {evaluation:.0%} in evaluation: pictures of "
            f"{width} x {height}, resized by {aug.resize[0]:g} to {aug.resize[1]:g}, do not fill "
            f"{final_width} x {final_height}"
        )
        return [Problem("data.image.resize", what, f"Set data.image.resize=[{low},{high}]")]

    def _wrong_content(self) -> list[Problem]:
        found = super()._wrong_content()
        if self.with_depth:
            found += files.lidar_layout(self._lidar_files(), self.section.lidar_values) or self._unseen_lidar()
        return found

    def _lidar_files(self) -> list[DataPath]:
        return [self._file(frame) for frame in self._index.key_frames[np.unique(self.samples), self._lidar]]

    def _unseen_lidar(self) -> list[Problem]:
        """The problem that no lidar point falls into a picture, so that there is no depth to learn from."""
        if self._share_in_pictures() > 0:
            return []
        what = "no lidar point falls into a picture, in the samples looked at"
        cure = "Check rotation, translation and camera_intrinsic, or set data.depth_labels=false"
        return [Problem(str(self.root / self.version / "calibrated_sensor.json"), what, cure)]

    def _share_in_pictures(self) -> float:
        """Share of the lidar points of a few samples that fall into pictures; points in two pictures count twice."""
        looked_at = np.unique(self.samples)[:: max(1, len(self.samples) // 3)][:3].tolist()
        frames = self._index.key_frames[looked_at, self._lidar]
        points = sum(len(self._cloud(key, int(frame))) for key, frame in zip(looked_at, frames, strict=True))
        return sum(len(pixels) for key in looked_at for pixels in self._lidar_pixels(key)) / points

    def _expected_size(self) -> tuple[int, int]:
        return self.section.image.source_size

    def _read_samples(self) -> NDArray[np.int64]:
        keys = np.unique(self.samples)
        before = [keys[~summary.absent(self._index, keys, step)] - step for step in self.section.sweeps]
        return np.unique(np.concatenate(before))

    def _note_absent_history(self) -> None:
        keys = np.unique(self.samples)
        for step in self.section.sweeps:
            if summary.absent(self._index, keys, step).all():
                self.notes.append(
                    f"data.sweeps: no sample of {self.split} has a key frame {step} before it in its scene; "
                    "the current one is repeated for all"
                )

    def _facts(self) -> dict[str, float | int | None]:
        training, evaluation = summary.padding(self.section.image)
        facts = super()._facts() | {"share of padding in pictures": training if self.augmented else evaluation}
        if len(self.section.sweeps) > 1:
            keys = np.unique(self.samples)
            repeated = summary.repeated_history(self._index, keys, list(self.section.sweeps))
            facts["share of repeated history frames"] = repeated
        if self.with_depth:
            facts["share of lidar points in pictures"] = self._share_in_pictures()
        return facts

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
        transforms, bev = self.draw(index, epoch)
        sweeps = [self._sweep(key, steps) for steps in self.section.sweeps]
        frames = self._index.key_frames[np.array(sweeps)[:, None], np.array(self._cameras)]
        ego2global = self.frame2global(key)
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

    def request(self, index: int) -> dict[str, NDArray[Any]]:
        """What the sample at ``index`` is made of, see :class:`portbev_nuscenes.requests.SweepRequests`.

        Raises:
            DataError: a file that is missing or damaged.
        """
        key = int(self.samples[index])
        sweeps = [self._sweep(key, steps) for steps in self.section.sweeps]
        frames = self._index.key_frames[np.array(sweeps)[:, None], np.array(self._cameras)]
        size = self.section.image.source_size
        pictures = [np.asarray(read_image(self._file(frame), size, token=self._token(key))) for frame in frames.flat]
        sensor2ego, intrin, _ = self._calibrated(frames)
        return {
            "images": np.stack(pictures).reshape(*frames.shape, *size, 3),
            "intrinsics": intrin[..., :3, :3],
            "camera2ego": sensor2ego,
        }

    def draw(self, index: int, epoch: int) -> tuple[Transforms, augment.BevTransform]:
        """How a sample is augmented in ``epoch``: each camera's picture, and the bird's-eye view."""
        if not self.augmented:
            return [augment.middle_image(self.section.image)] * len(self._cameras), augment.IDENTITY_BEV
        rng = generator(self.seed, "augment", epoch, index)
        images = [augment.draw_image(self.section.image, rng) for _ in self._cameras]
        return images, augment.draw_bev(self.section.bev, rng)

    def _sweep(self, key: int, steps: int) -> int:
        """The key frame ``steps`` earlier; at the beginning of a scene the current one instead."""
        previous = self._index.previous(key, steps)
        return key if previous is None else previous

    def frame2global(self, sample: int) -> Array:
        frames = self._index.key_frames[sample, self._cameras]
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
            for n, how in enumerate(transforms):
                source = read_image(self._file(frames[s, n]), aug.source_size, token=self._token(sample))
                images[s, n] = normalise(np.asarray(augment.transform_image(source, how, aug.final_size)), aug)
        return images

    def _depth(self, key: int, transforms: Transforms) -> NDArray[np.float32]:
        """Depth labels (N, H, W) of the key frame from its lidar sweep. They do not depend on the BEV augmentation."""
        aug = self.section.image
        depth = np.empty((len(self._cameras), *aug.final_size), np.float32)
        for n, pixels in enumerate(self._lidar_pixels(key)):
            depth[n] = augment.transform_depth(pixels, transforms[n], aug.final_size)
        return depth

    def _lidar_pixels(self, key: int) -> Iterator[NDArray[np.float32]]:
        """For each camera the (m, 3) [u v depth] of the lidar points that it sees, in source pixels and metres."""
        index = self._index
        frame = int(index.key_frames[key, self._lidar])
        points = self._cloud(key, frame)
        lidar2global = self._sensor2global(frame)
        for camera in index.key_frames[key, self._cameras]:
            seen = transform(lidar.relative_pose(lidar2global, self._sensor2global(camera)), points)
            intrinsic = index.calibration_intrinsic[index.frame_calibration[camera]]
            yield lidar.visible_points(seen, intrinsic, self.section.image.source_size)

    def _cloud(self, key: int, frame: int) -> NDArray[np.float32]:
        """(n, 3) lidar points of a frame of sample ``key``, lidar frame [m]."""
        return lidar.read_lidar(self._file(frame), token=self._token(key), values=self.section.lidar_values)[:, :3]

    def _sensor2global(self, frame: int) -> Array:
        index, row = self._index, self._index.frame_calibration[frame]
        ego2global = pose(index.frame_rotation[frame], index.frame_translation[frame])
        return ego2global @ pose(index.calibration_rotation[row], index.calibration_translation[row])
