"""EchoFusion's ``radialx_infos_*.pkl`` compared with the recordings or the converted files that they were made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import CheckpointError, DataError
from portbev.nn.names import tensor_of
from portbev.paths import DataPath
from portbev.tensorfiles.reading import read_file
from portbev_radial.converted.infos import box_annotations
from portbev_radial.converted.kitti import ConvertedRoot, is_converted, part_file
from portbev_radial.recordings.labels import NO_BOX, read_box_file
from portbev_radial.recordings.layout import SPLITS
from portbev_radial.recordings.raw import RawRoot

SHOWN = 3
"""Samples of a field that get a line each; one more line tells of the rest."""
_CURE = "Make the infos anew: portbev data convert radial --parts infos, or EchoFusion's create_data.py"
_TOLERANCE = 1e-4  # metres, radians, pixels
_CALIBRATION = {"rvec": "rotation", "tvec": "translation", "cam_mat": "intrinsic", "dist_coeffs": "distortion"}
_BOXES = {"location": "m", "dimensions": "m", "rotation_y": "rad"}


def read_infos(path: Path) -> list[Mapping[str, Any]]:
    """The infos of a file; nothing in it is executed.

    Raises:
        DataError: damaged, or another kind of file; says what it holds.
    """
    cure = "Give EchoFusion's radialx_infos_*.pkl"
    try:
        content = read_file(path)
    except CheckpointError as error:
        raise DataError(error.what, where=error.where, cure=error.cure) from error
    if not isinstance(content, Sequence) or isinstance(content, (str, bytes)) or not content:
        raise DataError(f"is no file of infos: a {type(content).__name__}", where=str(path), cure=cure)
    for number, entry in enumerate(content):
        image = entry.get("image") if isinstance(entry, Mapping) else None
        if not isinstance(image, Mapping) or not isinstance(image.get("image_idx"), int):
            raise DataError(f"entry {number} has no image.image_idx", where=str(path), cure=cure)
    return list(content)


def check_infos(path: Path, root: DataPath) -> Iterator[str]:
    """Yield a line for each difference: which sample, which field, how far; the last line is a summary.

    Args:
        root: raw recordings, or the converted layout.

    Raises:
        DataError: no file of infos, no such root, or a calibration or labels that cannot be read.
    """
    infos = read_infos(path)
    source = ConvertedRoot(root) if is_converted(root) else RawRoot(root)
    found: dict[str, list[tuple[int, str]]] = {}
    numbers = [int(entry["image"]["image_idx"]) for entry in infos]
    known = _known(source)
    strange = [number for number in numbers if number not in known]
    if strange:
        yield f"{path}: {len(strange)} of {len(numbers)} samples are not in {root}, the first is {strange[0]}. {_CURE}"
    for number, entry in zip(numbers, infos, strict=True):
        if number in known:
            for name, what in _differences(entry, number, source):
                found.setdefault(name, []).append((number, what))
    for name, entries in found.items():
        for number, what in entries[:SHOWN]:
            yield f"{path}: sample {number}: {name} {what}. {_CURE}"
        if len(entries) > SHOWN:
            yield f"{path}: {name} differs in {len(entries) - SHOWN} more samples. {_CURE}"
    yield f"{path}: {len(infos)} infos, {_split_of(set(numbers), source)}"


def _known(source: ConvertedRoot | RawRoot) -> set[int]:
    if isinstance(source, RawRoot):
        return set(source.labels)
    return {number for split in SPLITS for number in _members(source, split)}


def _members(source: ConvertedRoot | RawRoot, split: str) -> list[int]:
    if isinstance(source, RawRoot):
        return [label.number for label in source.of_split(split)]
    try:
        return source.of_split(split)
    except DataError:
        return []


def _split_of(numbers: set[int], source: ConvertedRoot | RawRoot) -> str:
    for split in SPLITS:
        members = set(_members(source, split))
        if members and numbers == members:
            return f"the samples of split {split}"
    together = {number for split in ("train", "val") for number in _members(source, split)}
    return "the samples of train and val" if numbers == together else "samples of several splits or of none"


def _differences(entry: Mapping[str, Any], number: int, source: ConvertedRoot | RawRoot) -> Iterator[tuple[str, str]]:
    said = entry.get("calib")
    calibration: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    for key, attribute in _CALIBRATION.items() if calibration else ():
        expected = np.asarray(getattr(source.camera, attribute), np.float64)
        if what := _far(calibration.get(key), expected.reshape(-1), "", flat=True):
            yield f"calib.{key}", what
    name = str(entry["image"].get("image_path", ""))
    if Path(name).stem != f"{number:06d}":
        yield "image.image_path", f"is {name!r}, which is another sample's"
    boxes = entry.get("annos")
    if not isinstance(boxes, Mapping):
        return
    if isinstance(source, RawRoot):
        rows = source.boxes.get(number, [NO_BOX])
    else:
        rows = read_box_file(part_file(source.root, "labels_x", number))
    wanted = box_annotations(rows)
    for key, unit in _BOXES.items():
        if what := _far(boxes.get(key), np.asarray(wanted[key], np.float64), unit):
            yield f"annos.{key}", what


def _far(value: object, expected: NDArray[np.float64], unit: str, *, flat: bool = False) -> str:
    """How far numbers are from those that they should be; empty where they are the same."""
    tensor = tensor_of(value)
    numbers = None if tensor is None else tensor.double().numpy()
    if numbers is None and isinstance(value, (list, tuple)):
        numbers = np.asarray(value, np.float64)
    if numbers is None:
        return "is missing" if value is None else "holds no numbers"
    numbers = numbers.reshape(-1) if flat else numbers
    if numbers.size == expected.size == 0:
        return ""
    if numbers.shape != expected.shape:
        return f"has the shape {numbers.shape}, not {expected.shape}"
    gap = np.abs(numbers - expected)
    farthest = float(gap.max()) if np.isfinite(gap).all() else float("inf")
    return f"is {f'{farthest:.4g} {unit}'.strip()} off" if farthest > _TOLERANCE else ""
