"""A data root of raw recordings: its labelled samples and the data of each."""

from __future__ import annotations

from functools import cached_property
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError, nearest
from portbev.paths import DataPath, as_path
from portbev_radial.recordings.alike import alike
from portbev_radial.recordings.calibration import CameraCalibration, read_camera_calibration
from portbev_radial.recordings.description import read_description
from portbev_radial.recordings.labels import Label, read_boxes, read_labels
from portbev_radial.recordings.layout import (
    BOXES,
    CAMERA_CALIBRATION,
    LABEL_TABLES,
    LABELS,
    RADAR_CALIBRATION,
    SPLITS,
    TOLERANCE,
    find_table,
    log_file,
    sequence_name,
    split_of,
)
from portbev_radial.recordings.recording import Recording, is_recording
from portbev_radial.recordings.sync import Dropped

PERIODS = (1e-3, 60.0)
"""Seconds between radar frames that can be meant; other ones are timestamps in another unit."""


class RawRoot:
    """Raw RADIal recordings with their labels; the folder is only read.

    Args:
        root: folder with the sequences and ``labels.csv`` (or ``labels_CVPR.csv``, as RADIal publishes it).
        boxes: the re-annotated boxes; ``radial_bbox_labels.csv`` in ``root`` by default.
        tolerance: microseconds between a radar frame and the other sensors' events.

    Attributes:
        labels: by numSample, ascending.
        problems: a line for each row, event or sample that was left out so far.
        dropped: the radar frames without partner events of the other sensors.
        notes: lines on what was read in another way than usual.

    Raises:
        DataError: no such folder, or no labels in it.
    """

    def __init__(self, root: DataPath, *, boxes: DataPath | None = None, tolerance: int = TOLERANCE) -> None:
        self.root, self.tolerance = as_path(root), tolerance
        if not self.root.is_dir():
            raise DataError("no such data root", where=str(root), cure="Give the folder that holds labels.csv")
        table, self.notes = find_table(self.root, *LABEL_TABLES), list[str]()
        if table.name != LABELS and table.exists():
            self.notes.append(f"labels are read from {table}")
        self.labels, self.problems = read_labels(table, self.notes)
        self.dropped: list[Dropped] = []
        self.radar = read_description(self.root)
        self.boxes_file = as_path(boxes) if boxes else find_table(self.root, BOXES)
        self.table_file = _first(self.root, RADAR_CALIBRATION)
        self.camera_file = _first(self.root, CAMERA_CALIBRATION)
        self._recordings: dict[str, Recording | DataError] = {}

    @cached_property
    def boxes(self) -> dict[int, list[tuple[str, ...]]]:
        """Box rows by numSample, as text: x y z dx dy dz yaw class."""
        rows, problems = read_boxes(self.boxes_file)
        self.problems += problems
        return rows

    @cached_property
    def camera(self) -> CameraCalibration:
        """The camera's calibration."""
        return read_camera_calibration(self.camera_file)

    def recording(self, sequence: str) -> Recording:
        """A sequence; its log is read on the first call and kept.

        Raises:
            DataError: there is no such sequence, or its log cannot be read.
        """
        if sequence not in self._recordings:
            folder = self._folder(sequence)
            try:
                if not is_recording(folder):
                    raise DataError("sequence is missing or has no event log", where=str(folder))
                recording = Recording(folder, tolerance=self.tolerance)
                _check_period(recording)
                self.problems += recording.problems
                self.dropped += recording.dropped
                self._recordings[sequence] = recording
            except DataError as error:
                self._recordings[sequence] = error
        opened = self._recordings[sequence]
        if isinstance(opened, DataError):
            raise opened
        return opened

    def of_split(self, split: str) -> list[Label]:
        """The labelled frames of ``train``, ``val`` or ``test``, by numSample.

        Raises:
            DataError: there is no such split.
        """
        if split not in SPLITS:
            raise DataError(f"no split {split!r}", where=str(self.root), cure=nearest(split, SPLITS, label="Splits"))
        return [label for label in self.labels.values() if split_of(label.sequence) == split]

    def check_pairing(self, labels: list[Label]) -> None:
        """Look for labels that would be paired with other frames than they were made for.

        Raises:
            DataError: a sequence has fewer frames than its labels count, and lost some that the labels did count.
        """
        for sequence in dict.fromkeys(label.sequence for label in labels):
            try:
                recording = self.recording(sequence)
            except DataError:  # its samples are left out
                continue
            frames = len(recording)
            moving = [one for one in recording.dropped if one.moves_labels and one.place < frames]
            last = max(label.index for label in labels if label.sequence == sequence)
            if last < frames or not moving:
                continue
            farthest = max(one.offset for one in moving)
            what = (
                f"labels count {last + 1} frames, but {frames} remain: {len(moving)} are left out, "
                f"so that later labels would be paired with other frames; the first: {moving[0].line}"
            )
            cure = "Check that log and labels belong together"
            if 0 < 2 * farthest <= (recording.period or 0) * 1e6:
                cure = f"Set data.tolerance={farthest} (--tolerance {farthest})"
            raise DataError(what, where=str(recording.folder), cure=cure)

    def told_of_dropped(self) -> list[str]:
        """Lines on the radar frames that were left out of the sequences read so far."""
        late = [one for one in self.dropped if one.offset]
        lines = alike(one.line for one in self.dropped if not one.offset)
        if late:
            far = max(one.offset for one in late) / 1000
            what = f"{len(late)} radar frames have an event of another sensor too far away in time"
            limit = f"the farthest {far:.1f} ms, data.tolerance={self.tolerance}"
            then = "they do not count, and labels after them mean later frames, as in RADIal's own reader"
            lines.append(f"{what} ({limit}): {then}; the first: {late[0].line}")
        return lines

    def usable(self, labels: list[Label], sensors: tuple[str, ...]) -> list[Label]:
        """The labels whose sensor files are long enough.

        ``problems`` gets a line for each of the other labels, or one line for all labels of an unreadable sequence.
        """
        good, lost = [], set()
        for label in labels:
            try:
                self.recording(label.sequence).check(label.index, sensors, self.radar.values_per_chip)
                good.append(label)
            except DataError as error:
                if isinstance(self._recordings[label.sequence], Recording):
                    self.problems.append(f"sample {label.number:06d} is left out: {error}")
                elif label.sequence not in lost:
                    lost.add(label.sequence)
                    count = sum(other.sequence == label.sequence for other in labels)
                    self.problems.append(f"{count} samples are left out: {error}")
        return good

    @cached_property
    def _sequences(self) -> dict[str, DataPath]:
        """Folders by the name of their sequence."""
        folders = (path for path in sorted(self.root.iterdir()) if path.is_dir())
        return {sequence_name(path.name): path for path in folders}

    def _folder(self, sequence: str) -> DataPath:
        """The folder of a sequence, also if it or the label has no ``RECORD@``, other capitals or a path."""
        if sequence == PurePosixPath(sequence).name and is_recording(self.root / sequence):
            return self.root / sequence
        return self._sequences.get(sequence_name(sequence), self.root / (PurePosixPath(sequence).name or "?"))

    def radar_samples(self, label: Label) -> NDArray[np.int16]:
        """(4, values) int16 samples of chips 0 to 3."""
        return self.recording(label.sequence).radar(label.index, self.radar.values_per_chip)

    def picture(self, label: Label) -> NDArray[np.uint8]:
        """(H, W, 3) blue green red."""
        return self.recording(label.sequence).camera(label.index)

    def lidar(self, label: Label) -> NDArray[np.float32]:
        """(n, 11) float32 returns."""
        return self.recording(label.sequence).lidar(label.index)


def _check_period(recording: Recording) -> None:
    period = recording.period
    if period is not None and not PERIODS[0] <= abs(period) <= PERIODS[1]:
        what = f"radar frames are {period:g} s apart"
        cure = "The log's timestamps must be whole microseconds"
        raise DataError(what, where=str(log_file(recording.folder)), cure=cure)


def _first(root: DataPath, name: str) -> DataPath:
    """A calibration file in the root or in its folder ``calibs``."""
    return next((path for path in (root / name, root / "calibs" / name) if path.exists()), root / name)
