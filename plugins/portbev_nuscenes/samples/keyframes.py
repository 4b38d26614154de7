"""The samples of one split: what the nuScenes data sets share."""

from __future__ import annotations

import copy
import hashlib
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from portbev.data import Part
from portbev.errors import DataError
from portbev.geometry import inverse_pose, transform
from portbev.paths import DataPath, as_path
from portbev_nuscenes.checks import frames
from portbev_nuscenes.checks.problem import refuse
from portbev_nuscenes.classes import DETECTION_CLASSES, Categories, counts
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_nuscenes.samples import truth
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.tables.index import Index
from portbev_nuscenes.tables.rows import LIDAR
from portbev_nuscenes.tables.splits import find_split, other_splits

if TYPE_CHECKING:
    from typing_extensions import Self


class KeyFrames:
    """The checked samples of one split with their rows of the index; subclasses make network inputs of them.

    Attributes:
        samples: (n,) row of each sample in the index; a sample may occur several times.
        tokens: their sample tokens.
        augmented: whether samples are augmented at random.
        root, version, split, part, seed: the data root, its version, the split, ``train`` or ``eval``, the seed.
        notes: repairs and omissions, for the run's record.
        keep: which of the boxes that count are trained on.
        categories, min_points: which boxes count: the keys ``data.categories`` and ``data.min_points``.
    """

    benchmark = "nuscenes"
    keep = truth.SEEN
    no_lidar = ""  # cure for tables without LIDAR_TOP
    classes: tuple[str, ...] = DETECTION_CLASSES

    def __init__(
        self, section: NuscenesData | NuscenesQueueData, root: DataPath, part: Part, *, seed: int, lidar: bool
    ) -> None:
        """Read the index and check the split.

        Args:
            section: the ``data`` section.
            root: data root; only read.
            part: ``train`` or ``eval``; it chooses the split.
            seed: of every random draw.
            lidar: whether every sample needs a LIDAR_TOP key frame.

        Raises:
            DataError: missing version, table, field, split, samples or key frames.
        """
        self.root, self.version, self.part, self.seed = as_path(root), section.version, part, seed
        self.split = section.train_split if part == "train" else section.eval_split
        self.augmented = part == "train" and section.augment
        self.notes: list[str] = []
        self._index = load_index(self.root, self.version, notes=self.notes)
        self._cameras = [self._index.channel(name) for name in section.cameras]
        self._lidar = self._lidar_column() if lidar else -1
        self.categories, self.min_points = Categories(section.categories), section.min_points
        self._labels = self.categories.labels(name.decode() for name in self._index.categories)
        self._counted = counts(self._index.box_points, section.min_points)
        self.samples = self._of_split()
        self._check()
        self.tokens = [self._token(sample) for sample in self.samples]

    def __len__(self) -> int:
        return len(self.samples)

    @property
    def index(self) -> Index:
        """The version's index, for callers that need more than samples."""
        return self._index

    def subset(self, indices: NDArray[np.int64] | list[int] | slice) -> Self:
        """The same data set with only these of its samples, in this order."""
        return self._with(self.samples[indices])

    @property
    def labelled(self) -> bool:
        """Whether the split has annotations."""
        return bool(self._box_rows().size)

    def _columns(self) -> list[int]:
        """Channels that every sample needs a key frame of."""
        return [*self._cameras, *([self._lidar] if self._lidar >= 0 else [])]

    def _box_rows(self) -> NDArray[np.int64]:
        """Rows of the index with the boxes of the samples."""
        return self._index.boxes_of(self.samples)

    def digest(self) -> str:
        """sha256 of the split's rows in the tables: samples, files, calibrations, poses, boxes."""
        index, digest = self._index, hashlib.sha256()
        for sample in np.unique(self.samples):
            frames = index.key_frames[sample][index.key_frames[sample] >= 0]
            boxes = slice(*index.box_start[sample : sample + 2])
            calibration = index.frame_calibration[frames]
            digest.update(index.sample_token[sample])
            for file in index.frame_file[frames].tolist():
                digest.update(file + b"\n")
            for column in (
                index.frame_rotation[frames],
                index.frame_translation[frames],
                index.calibration_rotation[calibration],
                index.calibration_translation[calibration],
                index.calibration_intrinsic[calibration],
                self._labels[index.box_category[boxes]],
                index.box_translation[boxes],
                index.box_size[boxes],
                index.box_rotation[boxes],
                index.box_velocity[boxes],
                index.box_points[boxes],
            ):
                digest.update(np.ascontiguousarray(column).tobytes())
        return digest.hexdigest()

    def _with(self, samples: NDArray[np.int64]) -> Self:
        subset = copy.copy(self)
        subset.samples = samples
        subset.tokens = [subset._token(sample) for sample in samples]
        return subset

    def _of_split(self) -> NDArray[np.int64]:
        names, notes = find_split(self.split, self.root, self.version)
        self.notes += notes
        chosen = self._index.samples_of(names)
        if not len(chosen):
            message = f"split {self.split!r} has no samples in {self.version}"
            raise DataError(message, where=str(self.root), cure=other_splits(self.split, self.root, self.version))
        present = len(set(self._index.sample_scene[chosen].tolist()))
        if present < len(names):
            self.notes.append(f"split {self.split}: {present} of its {len(names)} scenes are in {self.version}")
        return chosen

    def _check(self) -> None:
        """Check what opening a data set needs: key frames, annotations to train on, categories that are known.

        Raises:
            DataError: missing key frames or annotations.
        """
        index, chosen, folder = self._index, self.samples, self.root / self.version
        refuse(frames.missing_key_frames(index, chosen, self._columns(), folder))
        if self.part == "train" and not self.labelled:
            message = f"split {self.split!r} has no annotations to train on"
            cure = "Train on a split with annotations; without them predictions can be made: portbev eval"
            raise DataError(message, where=str(folder / "sample_annotation.json"), cure=cure)
        refuse(frames.unknown_categories(index, chosen, self.categories, folder))
        for name, count in frames.used_categories(index, chosen).items():
            if self.categories.class_of(name) is None and not self.categories.is_ignored(name):
                omitted = f"{count} boxes of {self.split} are left out (data.categories can map it)"
                self.notes.append(f"category {name!r} belongs to no detection class: {omitted}")

    def _lidar_column(self) -> int:
        """Column of LIDAR_TOP in the index.

        Raises:
            DataError: there is none; says what does without.
        """
        if LIDAR.encode() in self._index.channels:
            return self._index.channel(LIDAR)
        raise DataError(f"there is no {LIDAR}", where=str(self.root / self.version / "sensor.json"), cure=self.no_lidar)

    def _token(self, sample: int) -> str:
        return self._index.token(sample)

    def _file(self, frame: int) -> DataPath:
        return self.root / str(self._index.frame_file[frame].decode())

    def frame2global(self, sample: int) -> NDArray[np.float64]:
        """(4, 4) pose of the frame that the sample's boxes are in, without augmentation; ``sample`` of the index."""
        raise NotImplementedError

    def annotation_rows(self, sample: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Rows of the index with a sample's boxes that are trained on, and with its others."""
        index, rows = self._index, slice(*self._index.box_start[sample : sample + 2])
        centres = transform(inverse_pose(self.frame2global(sample)), index.box_translation[rows])
        kept = self.keep(self._labels[index.box_category[rows]], self._counted[rows], centres)
        every = np.arange(rows.start, rows.stop)
        return every[kept], every[~kept]

    def enough_points(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether boxes have the points that ``data.min_points`` asks for, by their rows of the index."""
        return np.asarray(self._counted[rows], bool)

    def labels_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """(n,) detection class of boxes by their rows of the index, -1 for none."""
        return np.asarray(self._labels[self._index.box_category[rows]], np.int64)

    def _boxes(self, sample: int, frame2global: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Ground truth (m, 9) and labels (m,) of a sample in the frame whose pose is given."""
        index, rows = self._index, slice(*self._index.box_start[sample : sample + 2])
        return truth.ground_truth(
            frame2global,
            self._labels[index.box_category[rows]],
            index.box_translation[rows],
            index.box_size[rows],
            index.box_rotation[rows],
            index.box_velocity[rows],
            self._counted[rows],
            self.keep,
        )
