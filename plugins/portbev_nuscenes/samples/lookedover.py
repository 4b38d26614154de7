"""The samples of one split, looked over before a run: what would stop it, and what will be learnt from them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.data import Summary
from portbev_nuscenes.checks import files, frames, times
from portbev_nuscenes.checks.problem import Problem, refuse
from portbev_nuscenes.classes import CLASS_RANGE, DETECTION_CLASSES
from portbev_nuscenes.samples import summary
from portbev_nuscenes.samples.images import image_size, is_deep
from portbev_nuscenes.samples.keyframes import KeyFrames


class LookedOver(KeyFrames):
    """Key frames that can say what is wrong with them and what is in them, from the index and few files."""

    def check(self) -> None:
        """Refuse what reading a sample or scoring the split would stumble over.

        Raises:
            DataError: see :meth:`problems`.
        """
        refuse(self.problems())
        first = [self._file(frame) for frame in self._index.key_frames[self.samples[0], self._cameras]]
        if any(is_deep(path) for path in first):
            self.notes.append("pictures have 16 bits a pixel, of which the upper eight are used")

    def problems(self) -> list[Problem]:
        """What stops a run on this split: key frames, times, attributes, files, sizes of pictures, lidar layout."""
        index, samples, folder = self._index, np.unique(self.samples), self.root / self.version
        scored = self.part == "eval" and self.labelled
        found = self._nothing_to_learn() if self.part == "train" else []
        found += times.wrong_unit(index, samples, folder)
        if scored:
            found += frames.unscorable(index, samples, folder)
        columns = {*self._columns(), *([index.reference()] if scored else [])}
        found += frames.doubled_key_frames(index, samples, sorted(columns), folder)
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

    def _read_columns(self) -> list[int]:
        """Channels whose files are read."""
        return self._columns()

    def _read_samples(self) -> NDArray[np.int64]:
        """Rows of the samples whose key frames are read, history included."""
        return np.unique(self.samples)

    def _files(self) -> dict[str, list[str]]:
        """The files that are read, by split and channel."""
        index, samples = self._index, self._read_samples()
        return {
            f"{self.split} {index.channels[column].decode()}": index.files(index.key_frames[samples, column])
            for column in self._read_columns()
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
        index = self._index
        rows = self._box_rows()
        label = self._labels[index.box_category[rows]]
        sample = np.searchsorted(index.box_start, rows, side="right") - 1
        ego = index.frame_translation[index.key_frames[sample, index.reference()]]
        away = np.hypot(*(index.box_translation[rows] - ego)[:, :2].T)
        reach = np.array([*(CLASS_RANGE[name] for name in DETECTION_CLASSES), 0.0])[label]  # -1, of no class: the last
        scored: NDArray[np.bool_] = self._counted[rows] & (away < reach)
        return scored
