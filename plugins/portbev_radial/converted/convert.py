"""Convert raw recordings to the layout that EchoFusion uses."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.data.pool import run_jobs
from portbev.data.progress import Progress, reporter
from portbev.data.root import open_root
from portbev.errors import ConfigError, DataError, PortbevError, nearest
from portbev.files import atomic_write, parse_json, write_json, write_text
from portbev.paths import DataPath, as_path
from portbev_radial.chain import Chain
from portbev_radial.converted.infos import write_infos
from portbev_radial.converted.kitti import DTYPES, FOLDERS, part_file, split_file
from portbev_radial.recordings.alike import alike
from portbev_radial.recordings.labels import NO_BOX, Label
from portbev_radial.recordings.layout import (
    CAMERA,
    CAMERA_CALIBRATION,
    LIDAR,
    RADAR_CALIBRATION,
    RADAR_CHIPS,
    RADAR_DESCRIPTION,
    SPLITS,
    TOLERANCE,
)
from portbev_radial.recordings.raw import RawRoot

PARTS = (*FOLDERS, "infos")
RADAR_PARTS = ("adc", "rt", "rd", "ra", "pcd")
TABLE_PARTS = ("ra", "pcd")
_STATE = ".portbev_convert.json"
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1)
_RESERVE = 1 << 30


@dataclass
class Conversion:
    """Result of a conversion.

    Attributes:
        out: the folder.
        samples: numbers of the complete samples, ascending.
        lost: number of labelled samples that are not complete.
        problems: a line for each sample, frame, event or part that is left out.
        size: total size of the samples' files in bytes.
    """

    out: Path
    samples: list[int]
    lost: int
    problems: list[str] = field(default_factory=list)
    size: int = 0


def convert(
    root: DataPath | str,
    out: Path | str,
    *,
    parts: Sequence[str] = PARTS,
    boxes: Path | None = None,
    tolerance: int = TOLERANCE,
    workers: int = 0,
    progress: bool | Progress = False,
) -> Conversion:
    """Write the converted layout of every labelled sample; the bytes do not depend on workers or interruptions.

    Each file is written atomically. A call after an interruption writes only the missing files, and parts may be added
    later. A sample that cannot be read is a line of ``problems`` and is left out of the lists in ``ImageSets``.

    Args:
        root: raw recordings; never written to.
        out: folder to create, or an unfinished or finished conversion of the same recordings.
        parts: some of :data:`PARTS`.
        boxes: the re-annotated boxes, where they are not in ``root``.
        tolerance: microseconds between a radar frame and the other sensors' events.
        workers: processes; 0 for one per CPU that this process may use.
        progress: True for a bar on stderr, or a function of (samples done, samples in all).

    Raises:
        ConfigError: a part that does not exist.
        DataError: ``root`` has no labels, or ones that would be paired with other frames; ``out`` is the conversion of
            something else; or the disk is too small.
    """
    for part in parts:
        if part not in PARTS:
            raise ConfigError(f"no part {part!r}", where="--parts", cure=nearest(part, PARTS, label="Parts"))
    source, out = RawRoot(as_path(root), boxes=boxes, tolerance=tolerance), Path(out).absolute()
    if str(out) == str(source.root.resolve()):
        raise DataError("is the data root itself", where=str(out), cure="Choose another folder")
    chosen = [part for part in PARTS if part in parts]
    job = {"root": str(source.root), "out": str(out), "boxes": str(boxes or ""), "tolerance": tolerance}
    _claim(out, source, {"tolerance": tolerance})
    problems: list[str] = []
    chosen = _without_table(source, chosen, problems)
    if "labels_x" in chosen or "infos" in chosen:
        source.boxes  # noqa: B018  (an unreadable table raises here, not in every worker)
    source.check_pairing(list(source.labels.values()))
    labels = source.usable(list(source.labels.values()), _sensors(chosen))
    _check_room(out, source, labels, chosen)
    problems += [*source.notes, *alike(source.problems), *source.told_of_dropped()]
    lost, failed = set(), list[str]()
    jobs = [label.number for label in labels]
    target = "portbev_radial.converted.convert:sample_job"
    with reporter(progress, "Converting samples", len(jobs)) as report:
        report(0, len(jobs))
        for done, (position, problem) in enumerate(
            run_jobs(target, {**job, "parts": chosen}, jobs, workers=workers), 1
        ):
            if problem:
                lost.add(jobs[position])
                failed.append(f"sample {jobs[position]:06d} is left out: {problem}")
            report(done, len(jobs))
    problems += alike(failed)
    complete = [label for label in labels if label.number not in lost]
    _finish(source, out, complete, chosen, problems)
    (out / _STATE).unlink(missing_ok=True)
    size = sum(
        part_file(out, part, label.number).stat().st_size for label in complete for part in chosen if part != "infos"
    )
    return Conversion(out, [label.number for label in complete], len(source.labels) - len(complete), problems, size)


def sample_job(common: dict[str, Any]) -> Callable[[int], str]:
    """The function that a worker calls with the number of a sample.

    It writes the missing parts of the sample, and returns an error message, or an empty one after success.

    Args:
        common: the paths, parts and tolerance, the same for all samples.
    """
    boxes = Path(common["boxes"]) if common["boxes"] else None
    source = RawRoot(open_root(common["root"]), boxes=boxes, tolerance=common["tolerance"])
    out, parts = Path(common["out"]), [part for part in common["parts"] if part != "infos"]
    chain = Chain(source.radar, source.table_file if set(parts) & set(TABLE_PARTS) else None)

    def write(number: int) -> str:
        label = source.labels[number]
        missing = [part for part in parts if not part_file(out, part, number).exists()]
        try:
            contents = _make(source, chain, label, missing)
        except DataError as error:
            return str(error)
        for part, data in contents.items():
            with atomic_write(part_file(out, part, number)) as temporary:
                temporary.write_bytes(data)
        return ""

    return write


def _make(source: RawRoot, chain: Chain, label: Label, parts: list[str]) -> dict[str, bytes]:
    """The bytes of each part of a sample."""
    contents: dict[str, bytes] = {}
    if "images" in parts:
        encoded, data = cv2.imencode(".png", source.picture(label), _PNG)
        if not encoded:
            raise DataError("OpenCV could not encode the picture")
        contents["images"] = data.tobytes()
    if "lidars" in parts:
        contents["lidars"] = _bytes("lidars", source.lidar(label))
    radar_parts = [part for part in RADAR_PARTS if part in parts]
    if radar_parts:
        for part, values in chain.compute(source.radar_samples(label), radar_parts).items():
            contents[part] = _bytes(part, values)
    if "labels" in parts:
        contents["labels"] = _lines(label.rows)
    if "labels_x" in parts:
        contents["labels_x"] = _lines(source.boxes.get(label.number, [NO_BOX]))
    return contents


def _bytes(part: str, values: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(values, np.dtype(DTYPES[part])).tobytes()


def _lines(rows: list[tuple[str, ...]]) -> bytes:
    return "".join(" ".join(row) + "\n" for row in rows).encode("utf-8")


def _sensors(parts: Sequence[str]) -> tuple[str, ...]:
    """Sensors whose files the parts need."""
    radar = RADAR_CHIPS if set(parts) & set(RADAR_PARTS) else ()
    return (*radar, *([CAMERA] if "images" in parts else []), *([LIDAR] if "lidars" in parts else []))


def _claim(out: Path, source: RawRoot, settings: dict[str, Any]) -> None:
    """Create ``out``, or check that its content comes from the same recordings; remove partially written files."""
    state = {"root": str(source.root.resolve()), **settings}
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot be made: {error.strerror or error}", where=str(out)) from error
    try:
        previous = parse_json((out / _STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        previous = None
    except (OSError, json.JSONDecodeError):
        previous = {}
    finished = (out / "ImageSets").is_dir()
    if previous is None and not finished and any(out.iterdir()):
        raise DataError("exists and is no conversion", where=str(out), cure="Choose a new or an empty folder")
    if previous is not None and previous != state:
        raise DataError(
            f"is the unfinished conversion of {previous.get('root', 'something else')} with other settings",
            where=str(out),
            cure="Choose another folder or remove this one",
        )
    if finished:
        _compare(out, source)
    write_json(out / _STATE, state)
    for folder in (out, *(out / name for name in {*FOLDERS.values(), "ImageSets", "calibs"})):
        for partial in folder.glob(".*.part"):
            partial.unlink()


def _compare(out: Path, source: RawRoot) -> None:
    """Check that a finished conversion has the same labels as the recordings."""
    for split in SPLITS:
        path = split_file(out, split)
        numbers = path.read_text(encoding="ascii").split() if path.exists() else []
        expected = {f"{label.number:06d}" for label in source.of_split(split)}
        for number in numbers:
            file = part_file(out, "labels", int(number)) if number in expected else None
            same = file is not None and (
                not file.exists() or file.read_bytes() == _lines(source.labels[int(number)].rows)
            )
            if not same:
                message = f"is the conversion of something else: sample {number} of {split} differs"
                raise DataError(message, where=str(out), cure="Choose another folder or remove this one")


def _without_table(source: RawRoot, parts: list[str], problems: list[str]) -> list[str]:
    """The parts that can be made with the calibration table as it is."""
    needed = [part for part in parts if part in TABLE_PARTS]
    if needed:
        try:
            Chain(source.radar, source.table_file)
        except PortbevError as error:
            problems.append(f"{' and '.join(needed)} are left out: {error}")
            return [part for part in parts if part not in needed]
    return parts


def _check_room(out: Path, source: RawRoot, labels: list[Label], parts: Sequence[str]) -> None:
    """Check that the missing radar files fit on the disk.

    Raises:
        DataError: they do not.
    """
    frame_size = 16 * 16 * source.radar.samples * source.radar.chirps
    missing = sum(
        not part_file(out, part, label.number).exists()
        for label in labels
        for part in ("adc", "rt", "rd")
        if part in parts
    )
    free = shutil.disk_usage(out).free
    if missing * frame_size + _RESERVE > free and missing:
        message = (
            f"{missing} radar frames of {frame_size / 1e6:.1f} MB do not fit into {free / 1e9:.1f} GB of free space"
        )
        raise DataError(message, where=str(out), cure="Choose fewer parts with --parts, or another disk")


def _finish(source: RawRoot, out: Path, labels: list[Label], parts: Sequence[str], problems: list[str]) -> None:
    """Write the files that exist once: calibrations, lists of samples, infos."""
    for path, target in (
        (source.camera_file, out / "calibs" / CAMERA_CALIBRATION),
        (source.table_file, out / RADAR_CALIBRATION),
        (source.root / RADAR_DESCRIPTION, out / RADAR_DESCRIPTION),
    ):
        if path.exists():
            data = path.read_bytes()
            with atomic_write(target) as temporary:
                temporary.write_bytes(data)
        elif target.name != RADAR_DESCRIPTION:
            problems.append(f"{path}: calibration is missing; it is left out")
    numbers = {label.number for label in labels}
    splits = {split: [label.number for label in source.of_split(split) if label.number in numbers] for split in SPLITS}
    for split, members in splits.items():
        write_text(split_file(out, split), "".join(f"{number:06d}\n" for number in members))
    if "infos" in parts:
        try:
            write_infos(out, splits, source)
        except DataError as error:
            problems.append(f"infos are left out: {error}")
