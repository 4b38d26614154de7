"""The samples of one split: the base class of the nuScenes data sets."""

from __future__ import annotations

import copy
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from portbev.data import Part, Summary
from portbev.errors import DataError
from portbev_nuscenes.checks import files, frames, times
from portbev_nuscenes.checks.problem import Problem, refuse
from portbev_nuscenes.classes import CLASS_RANGE, DETECTION_CLASSES, Categories, counts
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_nuscenes.samples import summary, truth
from portbev_nuscenes.samples.images import image_size
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
        categories, min_points: which boxes count: the keys ``data.categories`` and ``data.min_points``.
    """

    benchmark = "nuscenes"
    classes: tuple[str, ...] = DETECTION_CLASSES

    def __init__(
        self, section: NuscenesData | NuscenesQueueData, root: Path, part: Part, *, seed: int, lidar: bool
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
        self.root, self.version, self.part, self.seed = Path(root), section.version, part, seed
        self.split = section.train_split if part == "train" else section.eval_split
        self.augmented = part == "train" and section.augment
        self.notes: list[str] = []
        self._index = load_index(self.root, self.version, notes=self.notes)
        self._cameras = [self._index.channel(name) for name in section.cameras]
        self._lidar = self._index.channel(LIDAR) if lidar else -1
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

    def check(self) -> None:
        """Refuse what reading a sample or scoring the split would stumble over.

        Raises:
            DataError: see :meth:`problems`.
        """
        refuse(self.problems())

    def problems(self) -> list[Problem]:
        """What stops a run on this split: key frames, times, attributes, files, sizes of pictures, lidar layout."""
        index, samples, folder = self._index, np.unique(self.samples), self.root / self.version
        scored = self.part == "eval" and self.labelled
        found = self._nothing_to_learn() if self.part == "train" else []
        found += times.wrong_unit(index, samples, folder)
        found += frames.doubled_key_frames(index, samples, self._columns(), folder)
        if scored:
            found += frames.unscorable(index, samples, folder)
        if self.labelled:
            found += frames.unknown_attributes(index, samples, self._labels, folder)
        missing = files.missing_files(self.root, self._files())
        return found + (missing or self._wrong_content())

    def _nothing_to_learn(self) -> list[Problem]:
        """The problem that no box is left to train on, with what leaves them out."""
        learnt = self._boxes_by_class()
        if learnt.kept:
            return []
        reasons = "; ".join(f"{count} {reason}" for reason, count in learnt.dropped.items())
        cures = [summary.CURES[reason] for reason in learnt.dropped]
        what = f"split {self.split!r} has no box to train on: {reasons}"
        return [Problem(str(self.root / self.version / "sample_annotation.json"), what, "; ".join(cures))]

    def _wrong_content(self) -> list[Problem]:
        """Problems inside the files; here of pictures' sizes, by the headers of the first sample."""
        first = self._index.key_frames[self.samples[0], self._cameras]
        names = [self._index.channels[column].decode() for column in self._cameras]
        pictures = {name: self._file(frame) for name, frame in zip(names, first, strict=True)}
        return files.picture_sizes(pictures, self._expected_size()) or self._sizes_by_the_tables(first)

    def _sizes_by_the_tables(self, first: NDArray[np.int64]) -> list[Problem]:
        """Pictures of another size than the first sample's, if the tables give sizes and were right about the first."""
        index = self._index
        told = index.frame_size[first[0]]
        if not told.all() or image_size(self._file(first[0])) != (told[1], told[0]):
            return []
        used = index.key_frames[self._read_samples()][:, self._cameras].ravel()
        sizes = index.frame_size[used]
        other = used[sizes.all(1) & (sizes != told).any(1)]
        if not len(other):
            return []
        width, height = index.frame_size[other[0]]
        what = (
            f"{len(other)} pictures are not {told[0]} x {told[1]} by the tables, this first one is {width} x {height}"
        )
        cure = "Scale the pictures of a data set to one size, and their camera_intrinsic with them"
        return [Problem(str(self._file(other[0])), what, cure)]

    def _expected_size(self) -> tuple[int, int] | None:
        """(height, width) that pictures must have; None if any will do."""
        return None

    def _columns(self) -> list[int]:
        """Channels whose files are read."""
        return [*self._cameras, *([self._lidar] if self._lidar >= 0 else [])]

    def _read_samples(self) -> NDArray[np.int64]:
        """Rows of the samples whose key frames are read, history included."""
        return np.unique(self.samples)

    def _files(self) -> dict[str, list[str]]:
        """The files that are read, by split and channel."""
        index, samples = self._index, self._read_samples()
        return {
            f"{self.split} {index.channels[column].decode()}": index.files(index.key_frames[samples, column])
            for column in self._columns()
        }

    def summary(self) -> Summary:
        """What is learnt from the split, or scored against, in numbers."""
        return self._boxes_by_class().model_copy(update={"samples": len(self), "facts": self._facts()})

    def _boxes_by_class(self) -> Summary:
        return summary.of_boxes(
            self._index, np.unique(self.samples), self._labels, self._counted, self.categories, self._in_range
        )

    def _in_range(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """(n,) whether boxes, rows of the index, are in the range that is trained on."""
        return np.ones(len(rows), bool)

    def _facts(self) -> dict[str, float | int | None]:
        index = self._index
        boxes = index.boxes_of(self.samples)
        unknown = np.isnan(index.box_velocity[boxes][self._labels[index.box_category[boxes]] >= 0]).any(1)
        return {
            "boxes of unknown velocity": int(unknown.sum()),
            "median time between key frames [s]": times.interval(index, self.samples),
        }

    def counting(self) -> NDArray[np.bool_]:
        """(n,) which boxes of the split are scored: of a class, with enough points, within the range of the class."""
        index, lidar = self._index, self._index.channel(LIDAR)
        rows = self._box_rows()
        label = self._labels[index.box_category[rows]]
        sample = np.searchsorted(index.box_start, rows, side="right") - 1
        ego = index.frame_translation[index.key_frames[sample, lidar]]
        away = np.hypot(*(index.box_translation[rows] - ego)[:, :2].T)
        reach = np.array([*(CLASS_RANGE[name] for name in DETECTION_CLASSES), 0.0])[label]  # -1, of no class: the last
        scored: NDArray[np.bool_] = self._counted[rows] & (away < reach)
        return scored

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

    def _token(self, sample: int) -> str:
        return self._index.token(sample)

    def _file(self, frame: int) -> Path:
        return self.root / str(self._index.frame_file[frame].decode())

    def _boxes(
        self, sample: int, frame2global: NDArray[np.float64], keep: truth.Keep = truth.SEEN
    ) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
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
            keep,
        )
