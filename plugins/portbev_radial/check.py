"""Checks of a data root of raw recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from portbev.data.progress import Progress, reporter
from portbev.errors import DataError, PortbevError
from portbev.signal import read_calibration
from portbev_radial.recordings.layout import CAMERA, LIDAR, RADAR_CHIPS
from portbev_radial.recordings.raw import RawRoot


def check_root(
    root: Path, *, boxes: Path | None = None, decode: bool = False, progress: bool | Progress = False
) -> Iterator[str]:
    """Yield a line per problem of a root: tables, calibrations, logs, and the files of every labelled frame.

    A radar frame without partner events of the other sensors is a problem only if it is labelled.

    Args:
        root: raw recordings.
        boxes: the re-annotated boxes, where they are not in ``root``.
        decode: decode every picture, scan and radar frame; without it only the sizes of the files are checked.
        progress: True for a bar on stderr, or a function of (samples done, samples in all).

    Raises:
        DataError: no such root, or no labels in it.
    """
    source = RawRoot(root, boxes=boxes)
    yield from _fault(lambda: source.camera)
    yield from _fault(lambda: read_calibration(source.table_file, source.radar))
    yield from _fault(lambda: source.boxes)
    good = source.usable(list(source.labels.values()), (*RADAR_CHIPS, CAMERA, LIDAR))
    yield from source.problems
    if not decode:
        return
    with reporter(progress, "Reading samples", len(good)) as report:
        for done, label in enumerate(good, 1):
            for read in (source.radar_samples, source.picture, source.lidar):
                try:
                    read(label)
                except DataError as error:
                    yield f"sample {label.number:06d}: {error}"
            report(done, len(good))


def _fault(read: Callable[[], object]) -> Iterator[str]:
    """Yield the error that ``read`` raises, if any."""
    try:
        read()
    except PortbevError as error:
        yield str(error)
