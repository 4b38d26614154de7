"""Generate a whole data set: sequences by several processes, then labels and calibrations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from portbev.data.generated.growing import MANIFEST, grow
from portbev.data.generated.parts import Parts
from portbev.data.progress import Progress
from portbev.files import write_json, write_text
from portbev_radial.recordings.labels import BOX_COLUMNS, LABEL_COLUMNS
from portbev_radial.recordings.layout import BOXES, CAMERA_CALIBRATION, LABELS, RADAR_CALIBRATION, RADAR_DESCRIPTION
from portbev_radial.synth.options import RadialSynthOptions


def generate(
    out: Path | str, options: RadialSynthOptions, *, workers: int = 0, progress: bool | Progress = False
) -> Path:
    """Write generated RADIal recordings; the same options give the same bytes, whatever the number of workers.

    The data set is written to a folder beside ``out``, which is renamed when it is complete. After an interruption
    another call continues with the first sequence that is missing; a complete data set is kept as it is.

    Args:
        out: folder to create.
        options: what to generate.
        workers: processes; 0 for one per CPU that this process may use.
        progress: True for a progress bar on stderr, or a function of (sequences done, sequences in all).

    Returns:
        ``out``, which then is a RADIal data root: sequences, labels, boxes, calibrations, and a manifest.

    Raises:
        DataError: ``out`` holds something else, or cannot be written.
    """

    def build(folder: Path) -> None:
        sequences = Parts(folder, "sequences", [f"{number:04d}" for number in range(options.sequences)])
        sequences.make("portbev_radial.synth.build:sequence_job", options.as_dict(), workers, progress)
        _write_tables(sequences, options)
        sequences.forget()

    return grow(out, options.digest(), build, what=options.where)


def sequence_job(common: dict[str, Any]) -> Callable[[int], Any]:
    """The function that a worker calls with the number of a sequence: it writes the sequence and returns its rows.

    Args:
        common: the folder and the options, the same for all sequences.
    """
    folder, options = Path(common["folder"]), RadialSynthOptions.from_dict(common["options"])

    def write(number: int) -> Any:
        from portbev_radial.synth.recorder import SequenceWriter

        return SequenceWriter(options, number, folder).write()

    return write


def _write_tables(sequences: Parts, options: RadialSynthOptions) -> None:
    """Write labels, boxes, calibrations, the radar's description and the manifest."""
    from portbev_radial.recordings.description import RADIAL_RADAR
    from portbev_radial.synth.antenna import build_antenna, calibration_table
    from portbev_radial.synth.camera import draw_calibration
    from portbev_radial.synth.recorder import describe

    folder = sequences.folder
    labels, boxes = [",".join(LABEL_COLUMNS)], [",".join(BOX_COLUMNS)]
    for number in range(options.sequences):
        rows = sequences.rows(number)
        for frame in range(options.frames):
            sample = number * options.frames + frame
            labels += [",".join([str(sample), *row]) for row in rows["labels"][frame]]
            boxes += [",".join([str(sample), *row]) for row in rows["boxes"][frame]]
    write_text(folder / LABELS, "\n".join(labels) + "\n")
    write_text(folder / BOXES, "\n".join(boxes) + "\n")
    table = calibration_table(build_antenna(options.seed), options.azimuths, options.elevations)
    _save_dict(folder / RADAR_CALIBRATION, table)
    _save_dict(folder / CAMERA_CALIBRATION, draw_calibration(options.seed, options.image_size).as_dict())
    radar = describe(options)
    if radar != RADIAL_RADAR:
        write_json(folder / RADAR_DESCRIPTION, radar.as_dict())
    write_json(folder / MANIFEST, {**options.manifest(), "options": options.as_dict()})


def _save_dict(path: Path, table: dict[str, Any]) -> None:
    """Write a pickled dict to a ``.npy`` file, the format that the original's readers expect."""
    np.save(path, np.array(table, dtype=object), allow_pickle=True)
