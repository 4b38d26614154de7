"""nuScenes samples with their history for BEVFormer.

A training sample is a queue of frames. In evaluation a sample is one frame; the frames of a scene come in order, and
the model keeps the BEV features of the previous one.

Source: fundamentalvision/BEVFormer, ``datasets/nuscenes_dataset.py``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from portbev.data.base import Part
from portbev.data.pictures import pixels
from portbev.data.pictures.gridmask import draw_grid_mask
from portbev.data.pictures.photometric import Distortion, distort, draw_distortion
from portbev.errors import DataError
from portbev.geometry import inverse_pose, pose, transform
from portbev.paths import DataPath
from portbev.rng import generator
from portbev_nuscenes.batches import QueueBatch, QueueSample, collate_queues
from portbev_nuscenes.checks import times
from portbev_nuscenes.checks.problem import Problem, refuse
from portbev_nuscenes.config import NuscenesQueueData
from portbev_nuscenes.samples import can_bus, summary
from portbev_nuscenes.samples.images import image_size, read_image
from portbev_nuscenes.samples.lookedover import LookedOver
from portbev_nuscenes.samples.motion import split_motion
from portbev_nuscenes.samples.truth import Keep
from portbev_nuscenes.tables.chain import check_chain

if TYPE_CHECKING:
    from typing_extensions import Self

Array = NDArray[np.float64]
Positions = list[int]

MIN_SIZE = 8  # pixels, of the scaled height and width
SIZE_CURE = "The pictures of a data set must be of one size"


class QueueDataset(LookedOver):
    """The samples of one split in order of time, as queues for training or as single frames for evaluation.

    Every random draw of a sample depends on (seed, epoch, index) alone: not on the order of the calls, nor on workers
    or ranks, so that a run resumed in the middle of an epoch sees what it would have seen.

    A training sample whose queue holds a frame without ground truth is replaced by another one, as in the original.
    """

    no_lidar = "Add key frames of LIDAR_TOP, whose frame the boxes are in: their pose is needed, files are not"

    def __init__(self, section: NuscenesQueueData, root: DataPath, part: Part, *, seed: int) -> None:
        super().__init__(section, root, part, seed=seed, lidar=True)
        self.section, index = section, self._index
        self.notes += check_chain(index, self.samples)
        motion = split_motion(self.root, index, self.samples, self._lidar, section.can_bus, section.quirks)
        self.notes += motion.notes
        self._motion, self._motion_digest = motion.values, motion.digest
        self._counted = self._counted | (not section.use_valid_flag)
        self.keep = Keep(section.use_valid_flag, section.point_cloud_range)
        self._lidar2global = self._poses()
        self._near = self._boxes_in_range()
        self._has_truth = self._samples_with_truth()
        self._source_size = self._picture_size()
        self._arrange(self.samples[self._scene_order(self.samples)])
        self._note_rejected()

    def subset(self, indices: NDArray[np.int64] | list[int] | slice) -> Self:
        """The same data set with only these of its samples, in this order; history comes from these samples too."""
        part = super().subset(indices)
        part._arrange(part.samples)
        return part

    def frame2global(self, sample: int) -> Array:
        return self._lidar2global[sample]

    @staticmethod
    def collate(samples: Sequence[QueueSample]) -> QueueBatch:
        """A batch of at least one sample."""
        return collate_queues(samples)

    def streams(self) -> list[list[int]]:
        """The indices of each scene's samples in order of time, scenes in order of time."""
        scenes = self._index.sample_scene[self.samples[self._by_time]]
        cuts = np.flatnonzero(np.diff(scenes)) + 1
        return [positions.tolist() for positions in np.split(self._by_time, cuts)]

    def digest(self) -> str:
        """sha256 of the split's rows in the tables and of its CAN bus files."""
        return hashlib.sha256((super().digest() + self._motion_digest).encode()).hexdigest()

    def sample(self, index: int, epoch: int) -> QueueSample:
        """The sample at ``index`` as it is seen in ``epoch``.

        Raises:
            DataError: a picture that is missing, damaged or of another size.
        """
        if self.part == "train":
            positions = self.draw_queue(index, epoch)
            continues, vectors = self._history(positions)
            previous = ""
        else:
            positions = [index]
            before = self._before(index) if self.section.queue_length > 1 else None  # as it was trained
            continues, vectors = self._history([index] if before is None else [before, index])
            continues, vectors = continues[-1:], vectors[-1:]
            previous = "" if before is None else self.tokens[before]
        current = int(self.samples[positions[-1]])
        lidar2global = self._lidar2global[current]
        boxes, labels = self._boxes(current, lidar2global)
        return QueueSample(
            images=self._images(positions, index, epoch),
            lidar2img=np.stack([self._lidar2img(int(self.samples[position])) for position in positions]),
            can_bus=vectors,
            continues=continues,
            previous=previous,
            image_size=pixels.scaled_size(self._source_size, self.section.scale),
            boxes=boxes.astype(np.float32),
            labels=labels,
            token=self.tokens[positions[-1]],
            frame2global=lidar2global,
        )

    @property
    def source_size(self) -> tuple[int, int]:
        """(height, width) of the pictures as they are stored."""
        return self._source_size

    def request(self, index: int) -> dict[str, NDArray[Any]]:
        """What the frame at ``index`` is made of, see :class:`portbev_nuscenes.requests.QueueRequests`.

        Raises:
            DataError: a picture that is missing, damaged or of another size.
        """
        sample = int(self.samples[index])
        before = self._before(index) if self.section.queue_length > 1 else None
        _, vectors = self._history([index] if before is None else [before, index])
        frames = self._index.key_frames[sample, self._cameras]
        pictures = [
            np.asarray(read_image(self._file(frame), self._source_size, token=self.tokens[index], cure=SIZE_CURE))
            for frame in frames
        ]
        intrinsic, lidar2camera = self._calibrated(sample)
        return {
            "images": np.stack(pictures),
            "intrinsics": intrinsic[:, :3, :3],
            "lidar2camera": lidar2camera,
            "can_bus": vectors[-1],
        }

    # order

    def _scene_order(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Order by time. Scenes that overlap in time (of two cars) are not interleaved but ordered by their start."""
        scene, time = self._index.sample_scene[samples], self._index.sample_time[samples]
        begin = np.full(len(self._index.scenes), np.inf)
        np.minimum.at(begin, scene, time)
        return np.lexsort((time, scene, begin[scene]))

    def _arrange(self, samples: NDArray[np.int64]) -> None:
        """Set the samples of the data set, and compute their order in time and which of them can be trained on."""
        self.samples = samples
        self.tokens = [self._token(sample) for sample in samples]
        self._by_time = self._scene_order(samples)
        self._rank = np.empty(len(samples), np.int64)
        self._rank[self._by_time] = np.arange(len(samples))
        valid = self._has_truth[samples[self._by_time]]
        missing = np.zeros(len(samples), np.int64)
        for steps in self._steps_back():
            missing += ~valid[np.maximum(np.arange(len(samples)) - steps, 0)]
        self._usable = self._by_time[valid & (missing <= self._dropped())]
        if self.part == "train" and not self._has_truth[samples].any():
            refuse(self._nothing_to_learn())
        if self.part == "train" and not len(self._usable):
            message = (
                f"split {self.split!r} has no queue of {self.section.queue_length} frames that all have ground truth"
            )
            raise DataError(message, where=str(self.root), cure="Lower data.queue_length or widen point_cloud_range")

    def _steps_back(self) -> range:
        """Steps back from a sample to the frames of its queue, oldest first, before frames are dropped."""
        return range(self.section.queue_length - 1 + self._dropped(), 0, -1)

    def _dropped(self) -> int:
        """Number of frames that are dropped from a queue at random."""
        return int(self.augmented)

    def _before(self, position: int) -> int | None:
        """Index of the previous sample in time if it is of the same scene, else None."""
        rank = int(self._rank[position])
        if rank == 0:
            return None
        before = int(self._by_time[rank - 1])
        scene = self._index.sample_scene
        return before if scene[self.samples[before]] == scene[self.samples[position]] else None

    # queues

    def draw_queue(self, index: int, epoch: int) -> Positions:
        """Indices of the queue's frames, oldest first; the last one is the sample itself.

        With augmentation one of the earlier frames is dropped at random. At the beginning of the split its first sample
        is repeated. If a frame of the queue has no ground truth, another sample is drawn.
        """
        rng = generator(self.seed, "queue", epoch, index)
        position = index
        while True:
            steps_back = list(self._steps_back())
            for _ in range(self._dropped()):
                del steps_back[int(rng.integers(len(steps_back)))]
            ranks = np.maximum(self._rank[position] - np.array([*steps_back, 0]), 0)
            positions: Positions = self._by_time[ranks].tolist()
            if self._has_truth[self.samples[positions]].all():
                return positions
            position = int(rng.choice(self._usable))

    def _history(self, positions: Positions) -> tuple[NDArray[np.bool_], Array]:
        """(T,) whether each frame continues the previous one, and (T, 18) relative CAN bus vectors."""
        index, rows = self._index, self.samples[positions]
        scene = index.sample_scene[rows]
        continues = np.concatenate([[False], scene[1:] == scene[:-1]])
        frames = index.key_frames[rows, self._lidar]
        vectors = can_bus.absolute(index.frame_translation[frames], index.frame_rotation[frames], self._motion[rows])
        return continues, can_bus.relative(vectors, continues)

    # ground truth

    def _poses(self) -> Array:
        """(S, 4, 4) LIDAR_TOP to global for each row of the index; NaN where there is no key frame."""
        index = self._index
        frames = index.key_frames[:, self._lidar]
        present = frames >= 0
        poses = np.full((len(frames), 4, 4), np.nan)
        calibration = index.frame_calibration[frames[present]]
        ego2global = pose(index.frame_rotation[frames[present]], index.frame_translation[frames[present]])
        lidar2ego = pose(index.calibration_rotation[calibration], index.calibration_translation[calibration])
        poses[present] = ego2global @ lidar2ego
        return poses

    def _samples_with_truth(self) -> NDArray[np.bool_]:
        """(S,) whether each sample has boxes to train on; False outside the split."""
        index = self._index
        kept = (self._labels[index.box_category] >= 0) & self._counted & self._near
        before = np.concatenate([[0], np.cumsum(kept)])
        has_truth: NDArray[np.bool_] = np.diff(before[index.box_start]) > 0
        return has_truth & np.isin(np.arange(len(has_truth)), self.samples)

    def _boxes_in_range(self) -> NDArray[np.bool_]:
        """(G,) whether each box of the split is in the range that is trained on; False outside the split."""
        index, near = self._index, np.zeros(len(self._index.box_category), bool)
        anything = Keep(with_points=False, area=self.section.point_cloud_range)
        for sample in self.samples:
            rows = slice(*index.box_start[sample : sample + 2])
            centres = transform(inverse_pose(self._lidar2global[sample]), index.box_translation[rows])
            near[rows] = anything(np.zeros(len(centres), np.int64), np.ones(len(centres), bool), centres)
        return near

    def problems(self) -> list[Problem]:
        return times.other_clock(self._index, self.samples, self._lidar, self.root / self.version) + super().problems()

    def _read_columns(self) -> list[int]:
        return list(self._cameras)  # of the lidar only the pose is needed

    def _in_range(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        return self._near[rows]

    def _facts(self) -> dict[str, float | int | None]:
        steps = range(1, self.section.queue_length) if self.part == "train" else range(1, 2)
        size = pixels.scaled_size(self._source_size, self.section.scale)
        padded = pixels.padded_size(size, self.section.pad_divisor)
        missing = summary.repeated_history(self._index, np.unique(self.samples), list(steps))
        return super()._facts() | {
            "share of history frames that are not of the scene": missing,
            "share of padding in pictures": 1.0 - size[0] * size[1] / (padded[0] * padded[1]),
        }

    def _note_rejected(self) -> None:
        without = int((~self._has_truth[self.samples]).sum())
        if self.part == "train" and without:
            self.notes.append(
                f"{without} of {len(self)} samples have no ground truth in range: a queue that holds one is replaced "
                f"by another drawn at random ({len(self) - len(self._usable)} samples are never trained on)"
            )

    # pictures

    def _picture_size(self) -> tuple[int, int]:
        """(height, width) of the data set's first picture, which all must have."""
        path = self._file(self._index.key_frames[self.samples[0], self._cameras[0]])
        size = image_size(path)
        if min(pixels.scaled_size(size, self.section.scale)) < MIN_SIZE:
            message = (
                f"images of {size[1]} x {size[0]} are less than {MIN_SIZE} pixels at data.scale={self.section.scale}"
            )
            raise DataError(message, where=str(path), cure="Raise data.scale")
        return size

    def _lidar2img(self, sample: int) -> Array:
        """(N, 4, 4) LIDAR_TOP frame to input pixels."""
        intrinsic, lidar2camera = self._calibrated(sample)
        return pixels.scale_matrix(self.section.scale) @ intrinsic @ lidar2camera

    def _calibrated(self, sample: int) -> tuple[Array, Array]:
        """(N, 4, 4) intrinsics, and LIDAR_TOP frame to camera by way of the ego poses at the times of both."""
        index = self._index
        frames = index.key_frames[sample, self._cameras]
        calibration = index.frame_calibration[frames]
        camera2ego = pose(index.calibration_rotation[calibration], index.calibration_translation[calibration])
        ego2global = pose(index.frame_rotation[frames], index.frame_translation[frames])
        intrinsic = np.zeros((len(frames), 4, 4))
        intrinsic[:, :3, :3] = index.calibration_intrinsic[calibration]
        intrinsic[:, 3, 3] = 1
        return intrinsic, inverse_pose(ego2global @ camera2ego) @ self._lidar2global[sample]

    def _images(self, positions: Positions, index: int, epoch: int) -> NDArray[np.float32]:
        """(T, N, 3, H, W). Each image has its own distortion of colour; the last frame has one mask for all cameras."""
        section = self.section
        size = pixels.padded_size(pixels.scaled_size(self._source_size, section.scale), section.pad_divisor)
        images = np.zeros((len(positions), len(self._cameras), 3, *size), np.float32)
        drawn = self.distortions(len(positions), index, epoch)
        for t, position in enumerate(positions):
            sample = int(self.samples[position])
            for n, column in enumerate(self._cameras):
                path = self._file(self._index.key_frames[sample, column])
                picture = self._picture(path, self.tokens[position], drawn[t][n] if drawn else None)
                height, width = picture.shape[:2]
                images[t, n, :, :height, :width] = picture.transpose(2, 0, 1)
        mask = self.grid_mask(size, index, epoch)
        if mask is not None:
            images[-1] *= mask
        return images

    def distortions(self, frames: int, index: int, epoch: int) -> list[list[Distortion]]:
        """The distortion of colour of each picture (frames, cameras); [] where pictures stay as they are."""
        if not (self.augmented and self.section.photometric):
            return []
        rng = generator(self.seed, "photometric", epoch, index)
        return [[draw_distortion(rng) for _ in self._cameras] for _ in range(frames)]

    def grid_mask(self, size: tuple[int, int], index: int, epoch: int) -> NDArray[np.bool_] | None:
        """(H, W) True where pictures of the last frame are kept; None where none are masked."""
        if not (self.augmented and self.section.grid_mask):
            return None
        return draw_grid_mask(size, generator(self.seed, "gridmask", epoch, index))

    def _picture(self, path: DataPath, token: str, distortion: Distortion | None) -> NDArray[np.float32]:
        """(h, w, 3) image, distorted if that is given, normalised and scaled, channels in the network's order."""
        section = self.section
        source = np.asarray(read_image(path, self._source_size, token=token, cure=SIZE_CURE))
        if distortion is None:
            image, bgr = source.astype(np.float32), False
        else:
            image, bgr = distort(pixels.swap_red_blue(source).astype(np.float32), distortion), True
        return pixels.to_input(image, section.mean, section.std, section.scale, swap=bgr != section.bgr)
