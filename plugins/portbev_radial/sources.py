"""The two sources of samples: raw recordings and the converted layout."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev.signal.description import RadarDescription
from portbev_radial.chain import Chain
from portbev_radial.config import RadialData
from portbev_radial.converted.extents import check_sizes, files_of, picture_size
from portbev_radial.converted.kitti import ConvertedRoot, is_converted, part_file
from portbev_radial.recordings.alike import alike
from portbev_radial.recordings.calibration import CameraCalibration
from portbev_radial.recordings.labels import NO_BOX, box_array
from portbev_radial.recordings.layout import CAMERA, LABEL_TABLES, RADAR_CHIPS, find_table
from portbev_radial.recordings.raw import RawRoot

PARTS = {"rt": "rt", "rd": "rd", "ra": "ra", "adc": "adc", "pc": "pcd"}
"""Part of the converted layout for each value of ``data.radar``."""


class Source(Protocol):
    """One split of a data root.

    Attributes:
        version: ``raw`` or ``converted``.
        numbers: the samples that can be read, ascending.
        problems: a line for each sample, row or event that is left out.
        lost: number of samples that are left out.
        boxes_name: where the boxes are.
        radar_kind: what :meth:`radar` returns: ``raw``, or the value of ``data.radar``.
        description: the radar.
        table_file: its calibration table; the file may be missing if no part needs it.
        camera: the camera's calibration.
    """

    version: str
    numbers: list[int]
    problems: list[str]
    lost: int
    boxes_name: str
    radar_kind: str
    description: RadarDescription
    table_file: DataPath

    @property
    def camera(self) -> CameraCalibration: ...

    def boxes(self, number: int) -> NDArray[np.float64]: ...

    def picture(self, number: int) -> NDArray[np.uint8]: ...

    def radar(self, number: int) -> NDArray[Any]: ...

    def frame_name(self, number: int) -> str:
        """Text that identifies the frame of a sample, made without reading its files."""
        ...

    def identity(self, table: bool) -> str:
        """Text that identifies the radar and the calibrations; ``table``: include the calibration table's content."""
        ...

    def check(self) -> None:
        """Look for what reading would stumble over; raises DataError."""
        ...

    def sizes(self) -> dict[tuple[int, int], list[int]]:
        """(height, width) of pictures -> samples that have it, from their headers; of raw recordings one a sequence.

        Raises:
            DataError: a picture that is damaged or truncated.
        """
        ...

    def times(self) -> list[list[float]]:
        """For each sequence the seconds of its samples, ascending; empty where the layout has no times."""
        ...


def layout_of(section: RadialData, root: DataPath) -> str:
    """``raw`` or ``converted``: what ``data.layout`` asks for, or what the root holds.

    Raises:
        DataError: raw recordings are asked for where only the converted layout is.
    """
    raw = find_table(root, *LABEL_TABLES).exists()
    if section.layout == "raw" and is_converted(root) and not raw:
        cure = "Set data.layout=converted"
        raise DataError("holds the converted layout, not raw recordings", where=str(root), cure=cure)
    if section.layout == "auto":
        return "converted" if is_converted(root) and not raw else "raw"
    return section.layout


def open_source(section: RadialData, root: DataPath, split: str, notes: list[str]) -> Source:
    """Open a split of a root; samples that are left out are added to ``notes``.

    Raises:
        DataError: the root has neither layout, or not the one that ``data.layout`` asks for.
    """
    kind = ConvertedSource if layout_of(section, root) == "converted" else RawSource
    return kind(section, root, split, notes)


class RawSource:
    """Samples read from raw recordings."""

    version = "raw"

    def __init__(self, section: RadialData, root: DataPath, split: str, notes: list[str]) -> None:
        boxes = Path(section.boxes).expanduser() if section.boxes else None
        self._root = RawRoot(root, boxes=boxes, tolerance=section.tolerance)
        radar = RADAR_CHIPS if section.radar != "none" else ()
        sensors = (*radar, CAMERA) if section.camera else radar
        labels = self._root.of_split(split)
        if sensors:  # the boxes alone need no recordings
            self._root.check_pairing(labels)
        usable = self._root.usable(labels, sensors) if sensors else labels
        self._labels = {label.number: label for label in usable}
        self.numbers, self.lost = list(self._labels), len(labels) - len(self._labels)
        without = sum(number not in self._root.boxes for number in self.numbers)
        self.problems, self.boxes_name = alike(self._root.problems), self._root.boxes_file.name
        notes += [*self._root.notes, *self.problems, *self._root.told_of_dropped()]
        if without:
            notes.append(f"{without} samples of {split} are not in {self._root.boxes_file.name}: they count as empty")
        self.description, self.table_file = self._root.radar, self._root.table_file
        self.radar_kind: str = "raw" if radar and section.signal_on == "device" else section.radar
        self._product, self._table = section.radar, section.radar in ("ra", "pc")
        if self._table and not self.table_file.exists():
            what = f"the radar's calibration table is missing, which data.radar={section.radar} needs"
            raise DataError(what, where=str(self.table_file), cure="Fetch it, or choose data.radar=rt, rd or adc")
        self._chain = Chain(self.description, self.table_file if self._table else None, section.signal_precision)

    @property
    def camera(self) -> CameraCalibration:
        return self._root.camera

    def boxes(self, number: int) -> NDArray[np.float64]:
        return box_array(self._root.boxes.get(number, [NO_BOX]))

    def picture(self, number: int) -> NDArray[np.uint8]:
        return self._root.picture(self._labels[number])

    def radar(self, number: int) -> NDArray[Any]:
        samples = self._root.radar_samples(self._labels[number])
        if self.radar_kind == "raw":
            return samples
        part = PARTS[self._product]
        return as_real(self._chain.compute(samples, [part])[part])

    def frame_name(self, number: int) -> str:
        label = self._labels[number]
        return f"{label.sequence} {label.index}"

    def identity(self, table: bool) -> str:
        return _identity(self.description, self._root.camera_file, self.table_file if table else None)

    def check(self) -> None:
        """Nothing: files are looked at when the source is opened, as its samples depend on them."""

    def sizes(self) -> dict[tuple[int, int], list[int]]:
        first = {label.sequence: label for label in reversed(self._labels.values())}
        found: dict[tuple[int, int], list[int]] = {}
        for label in sorted(first.values(), key=lambda label: label.number):
            height, width = self._root.picture(label).shape[:2]
            found.setdefault((height, width), []).append(label.number)
        return found

    def times(self) -> list[list[float]]:
        sequences: dict[str, list[float]] = {}
        for label in self._labels.values():
            with contextlib.suppress(DataError):  # opened for its boxes alone
                time = self._root.recording(label.sequence).time(label.index)
                sequences.setdefault(label.sequence, []).append(time / 1e6)
        return [sorted(times) for times in sequences.values()]


class ConvertedSource:
    """Samples of the converted layout; the products of the signal chain are read from files, not computed."""

    version = "converted"

    def __init__(self, section: RadialData, root: DataPath, split: str, notes: list[str]) -> None:
        self._root = ConvertedRoot(root)
        self.radar_kind: str = section.radar
        self._part = PARTS.get(section.radar, "")
        needed = (*([self._part] if self._part else []), "labels_x", *(["images"] if section.camera else []))
        self._files = {part: files_of(root, part) for part in needed}
        self.numbers, problems = [], []
        members = self._root.of_split(split)
        for number in members:
            paths = {part: part_file(root, part, number) for part in needed}
            missing = [path for part, path in paths.items() if path.name not in self._files[part]]
            if missing:
                problems.append(f"sample {number:06d} is left out: {missing[0]} is missing")
            else:
                self.numbers.append(number)
        self.problems, self.lost, self.boxes_name = alike(problems), len(problems), "labels_x"
        notes += self.problems
        self.description, self.table_file = self._root.radar, self._root.table_file

    @property
    def camera(self) -> CameraCalibration:
        return self._root.camera

    def boxes(self, number: int) -> NDArray[np.float64]:
        return self._root.boxes(number)

    def picture(self, number: int) -> NDArray[np.uint8]:
        return self._root.picture(number)

    def radar(self, number: int) -> NDArray[Any]:
        radar = self.description
        frame = (radar.samples, radar.chirps, radar.receivers)
        shape = {"ra": (radar.samples, -1), "pcd": (-1, 4)}.get(self._part, frame)
        return as_real(self._root.array(self._part, number, shape))

    def frame_name(self, number: int) -> str:
        return "converted"

    def identity(self, table: bool) -> str:
        return _identity(self.description, self._root.camera_file, self.table_file if table else None)

    def check(self) -> None:
        """Files of the radar's part that have another size than their array.

        Raises:
            DataError: says how many there are, and the first.
        """
        if self._part:
            sizes = {number: self._files[self._part][f"{number:06d}.bin"] for number in self.numbers}
            check_sizes(self._root.root, self._part, sizes, self.description)

    def sizes(self) -> dict[tuple[int, int], list[int]]:
        found: dict[tuple[int, int], list[int]] = {}
        for number in self.numbers:
            found.setdefault(picture_size(part_file(self._root.root, "images", number)), []).append(number)
        return found

    def times(self) -> list[list[float]]:
        return []


def as_real(values: NDArray[Any]) -> NDArray[np.float32]:
    """float32; complex values get a last axis of real and imaginary part, for devices without complex numbers."""
    if not np.iscomplexobj(values):
        return np.ascontiguousarray(values, np.float32)
    return np.stack([values.real, values.imag], -1).astype(np.float32)


def _identity(radar: RadarDescription, camera: DataPath, table: DataPath | None) -> str:
    """The radar's description, and the hashes of the calibration files that exist."""
    files = [path for path in (camera, table) if path is not None and path.exists()]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return f"{sorted(radar.as_dict().items())} {digests}"
