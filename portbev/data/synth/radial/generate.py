"""A whole set of generated recordings, by several processes. May import: everything of this package but root."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from portbev.data.radial.labels import BOX_COLUMNS, LABEL_COLUMNS
from portbev.data.radial.layout import BOXES, CAMERA_CALIBRATION, LABELS, RADAR_CALIBRATION, RADAR_DESCRIPTION
from portbev.data.radial.pool import run_jobs
from portbev.data.radial.progress import Progress, reporter
from portbev.data.synth.radial.options import GENERATOR_VERSION, WHERE, RadialSynthOptions, from_dict
from portbev.errors import DataError
from portbev.files import write_json, write_text

MANIFEST = "portbev_synth.json"
_DONE = ".sequences"


def generate(
    out: Path | str, options: RadialSynthOptions, *, workers: int = 0, progress: bool | Progress = False
) -> Path:
    """Write generated RADIal recordings; the same options give the same bytes, whatever the number of workers.

    The data set grows in a folder beside ``out`` and takes its name when it is complete. A call that was interrupted
    goes on with the sequence where it stopped; a data set that is there already is kept.

    Args:
        out: folder to make.
        options: what to make.
        workers: processes; 0 for one per CPU that this process may use.
        progress: True for a progress bar on stderr, or a function of (sequences done, sequences in all).

    Returns:
        ``out``, which then is a RADIal data root: sequences, labels, boxes, calibrations, and a manifest.

    Raises:
        DataError: ``out`` holds something else, or cannot be written.
    """
    out = Path(out).absolute()
    if _is_complete(out, options):
        return out
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        lock = out.parent / f".{out.name}.lock"
        with FileLock(lock):
            if not _is_complete(out, options):
                _build(out, options, workers, progress)
        lock.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot write {WHERE}: {error.strerror or error}",
            where=str(error.filename or out),
            cure="Check permissions and free space, or choose another folder",
        ) from error
    return out


def sequence_job(common: dict[str, Any]) -> Callable[[int], int]:
    """What a worker does with the number of a sequence: write it, and leave its rows."""
    part, options = Path(common["part"]), from_dict(common["options"])

    def write(number: int) -> int:
        import cv2

        from portbev.data.synth.radial.recorder import SequenceWriter

        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            rows = SequenceWriter(options, number, part).write()
        finally:
            cv2.setNumThreads(threads)
        write_json(_rows_file(part, number), rows, indent=None)
        return number

    return write


def _is_complete(out: Path, options: RadialSynthOptions) -> bool:
    """Whether ``out`` is this data set already; raises when it is something else."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
        manifest = None
    if isinstance(manifest, dict):
        if manifest.get("digest") == options.digest():
            return True
        what = "holds synthetic data made with other options"
        raise DataError(what, where=str(out), cure="Choose another folder or remove this one")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError("exists and is no synthetic data set", where=str(out), cure="Choose a new or an empty folder")
    return False


def _rows_file(part: Path, number: int) -> Path:
    return part / _DONE / f"{number:04d}.json"


def _build(out: Path, options: RadialSynthOptions, workers: int, progress: bool | Progress) -> None:
    part = out.parent / f".{out.name}.{options.digest()}.part"
    for old in out.parent.glob(f".{out.name}.*.part"):
        if old != part:
            shutil.rmtree(old)
    (part / _DONE).mkdir(parents=True, exist_ok=True)
    missing = [number for number in range(options.sequences) if not _rows_file(part, number).exists()]
    target, common = "portbev.data.synth.radial.generate:sequence_job", {"part": str(part)}
    with reporter(progress, "Generating sequences", options.sequences) as report:
        done = options.sequences - len(missing)
        report(done, options.sequences)
        for _ in run_jobs(target, {**common, "options": options.as_dict()}, missing, workers=workers):
            done += 1
            report(done, options.sequences)
    _write_tables(part, options)
    shutil.rmtree(part / _DONE)
    if out.exists():
        out.rmdir()
    os.replace(part, out)


def _write_tables(part: Path, options: RadialSynthOptions) -> None:
    """Labels, boxes, calibrations and the radar's description."""
    from portbev.data.synth.radial.antenna import build_antenna, calibration_table
    from portbev.data.synth.radial.camera import draw_calibration
    from portbev.data.synth.radial.recorder import describe
    from portbev.signal.description import RadarDescription

    labels, boxes = [",".join(LABEL_COLUMNS)], [",".join(BOX_COLUMNS)]
    for number in range(options.sequences):
        rows = json.loads(_rows_file(part, number).read_text(encoding="utf-8"))
        for frame in range(options.frames):
            sample = number * options.frames + frame
            labels += [",".join([str(sample), *row]) for row in rows["labels"][frame]]
            boxes += [",".join([str(sample), *row]) for row in rows["boxes"][frame]]
    write_text(part / LABELS, "\n".join(labels) + "\n")
    write_text(part / BOXES, "\n".join(boxes) + "\n")
    table = calibration_table(build_antenna(options.seed), options.azimuths, options.elevations)
    _save_dict(part / RADAR_CALIBRATION, table)
    _save_dict(part / CAMERA_CALIBRATION, draw_calibration(options.seed, options.image_size).as_dict())
    radar = describe(options)
    if radar != RadarDescription():
        write_json(part / RADAR_DESCRIPTION, radar.as_dict())
    manifest = {"format": "portbev.synthetic-radial", "generator": GENERATOR_VERSION, "digest": options.digest()}
    write_json(part / MANIFEST, {**manifest, "options": options.as_dict()})


def _save_dict(path: Path, table: dict[str, Any]) -> None:
    """A pickled dict in a ``.npy``, which is what the original's readers expect."""
    np.save(path, np.array(table, dtype=object), allow_pickle=True)
