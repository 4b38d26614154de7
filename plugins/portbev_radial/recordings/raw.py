"""A data root of raw recordings: its labelled samples and the data of each."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError, nearest
from portbev_radial.recordings.calibration import CameraCalibration, read_camera_calibration
from portbev_radial.recordings.description import read_description
from portbev_radial.recordings.labels import Label, read_boxes, read_labels
from portbev_radial.recordings.layout import (
    BOXES,
    CAMERA_CALIBRATION,
    LABELS,
    RADAR_CALIBRATION,
    SPLITS,
    TOLERANCE,
    split_of,
)
from portbev_radial.recordings.recording import Recording, is_recording


class RawRoot:
    """Raw RADIal recordings with their labels; the folder is only read.

    Args:
        root: folder with the sequences and ``labels.csv``.
        boxes: the re-annotated boxes; ``radial_bbox_labels.csv`` in ``root`` by default.
        tolerance: microseconds between a radar frame and the other sensors' events.

    Attributes:
        labels: by numSample, ascending.
        problems: a line for each row, event or sample that was left out so far.
        dropped: a line for each radar frame without partner events of the other sensors.

    Raises:
        DataError: no such folder, or no labels in it.
    """

    def __init__(self, root: Path, *, boxes: Path | None = None, tolerance: int = TOLERANCE) -> None:
        self.root, self.tolerance = Path(root), tolerance
        if not self.root.is_dir():
            raise DataError("no such data root", where=str(root), cure="Give the folder that holds labels.csv")
        self.labels, self.problems = read_labels(self.root / LABELS)
        self.dropped: list[str] = []
        self.radar = read_description(self.root)
        self.boxes_file = Path(boxes) if boxes else self.root / BOXES
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
            folder = self.root / sequence
            try:
                if not is_recording(folder):
                    raise DataError("sequence is missing or has no event log", where=str(folder))
                recording = Recording(folder, tolerance=self.tolerance)
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

    def radar_samples(self, label: Label) -> NDArray[np.int16]:
        """(4, values) int16 samples of chips 0 to 3."""
        return self.recording(label.sequence).radar(label.index, self.radar.values_per_chip)

    def picture(self, label: Label) -> NDArray[np.uint8]:
        """(H, W, 3) blue green red."""
        return self.recording(label.sequence).camera(label.index)

    def lidar(self, label: Label) -> NDArray[np.float32]:
        """(n, 11) float32 returns."""
        return self.recording(label.sequence).lidar(label.index)


def _first(root: Path, name: str) -> Path:
    """A calibration file in the root or in its folder ``calibs``."""
    return next((path for path in (root / name, root / "calibs" / name) if path.exists()), root / name)
