"""Checks of a data root, by the code that training reads it with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from portbev.data.progress import Progress, reporter
from portbev.errors import DataError, PortbevError, nearest
from portbev.paths import DataPath
from portbev.signal import read_calibration
from portbev_radial.config import RadialData
from portbev_radial.converted.kitti import ConvertedRoot, part_file, split_file
from portbev_radial.dataset import RadialDataset
from portbev_radial.recordings.layout import LIDAR, SPLITS
from portbev_radial.recordings.raw import RawRoot
from portbev_radial.sources import PARTS, layout_of


@dataclass(frozen=True)
class Finding:
    """One line of a check; ``needed``: training misses it."""

    text: str
    needed: bool = True


def check_root(
    root: DataPath,
    *,
    radar: str = "",
    camera: bool = True,
    boxes: DataPath | None = None,
    tolerance: int | None = None,
    decode: bool = False,
    progress: bool | Progress = False,
) -> Iterator[Finding]:
    """Yield what opening the splits of a root for training would leave out or stumble over, and what it does without.

    Args:
        root: raw recordings or the converted layout.
        radar: value of ``data.radar``; empty: ``rt`` of raw recordings, every product there is of the converted layout.
        camera: whether pictures are needed.
        boxes: the re-annotated boxes, where they are not in ``root``.
        tolerance: value of ``data.tolerance``.
        decode: read every picture and radar frame; without it only the sizes of the files are looked at.
        progress: True for a bar on stderr, or a function of (samples done, samples in all).

    Raises:
        DataError: no such root, no labels in it, or no such product.
    """
    if radar and radar not in (*PARTS, "none"):
        raise DataError(f"no radar product {radar!r}", where="--radar", cure=nearest(radar, [*PARTS, "none"]))
    values = {"boxes": str(boxes) if boxes else None, "camera": camera}
    section = RadialData.model_validate(values if tolerance is None else {**values, "tolerance": tolerance})
    converted = layout_of(section, root) == "converted"
    told: set[str] = set()
    for product in [radar] if radar else _products(root, converted):
        chosen = section.model_copy(update={"radar": product})
        for split in _splits(chosen, root, converted):
            for finding in _split(chosen, root, split, decode=decode, progress=progress):
                if finding.text not in told:
                    told.add(finding.text)
                    yield finding
    if not converted:
        yield from _not_needed(RawRoot(root, boxes=boxes, tolerance=section.tolerance), radar or "rt")


def _products(root: DataPath, converted: bool) -> list[str]:
    there = [product for product, part in PARTS.items() if part_file(root, part, 0).parent.is_dir()]
    return (there or ["none"]) if converted else ["rt"]


def _splits(section: RadialData, root: DataPath, converted: bool) -> list[str]:
    """The splits that have samples."""
    if converted:
        layout = ConvertedRoot(root)
        return [split for split in SPLITS if split_file(root, split).exists() and layout.of_split(split)]
    recordings = RawRoot(root, tolerance=section.tolerance)
    splits = [split for split in SPLITS if recordings.of_split(split)]
    if not splits:
        first = recordings.problems[0] if recordings.problems else "the table has no rows"
        raise DataError("no sample has a usable label", where=str(root), cure=f"The first problem: {first}")
    return splits


def _split(
    section: RadialData, root: DataPath, split: str, *, decode: bool, progress: bool | Progress
) -> Iterator[Finding]:
    part = "train" if split == "train" else "eval"
    chosen = section.model_copy(update={"train_split": split, "eval_split": split})
    try:
        data = RadialDataset(chosen, root, part, seed=0)  # type: ignore[arg-type]
    except PortbevError as error:
        yield Finding(f"{split}: {error}")
        return
    yield from map(Finding, data.source.problems)
    read = list(_decoded(data, progress)) if decode else []
    fault = _fault(data.check)
    if fault and not any(line.endswith(fault) for line in read):
        yield Finding(f"{split}: {fault}")
    yield from map(Finding, read)


def _decoded(data: RadialDataset, progress: bool | Progress) -> Iterator[str]:
    """Read every sample; a line for each file that cannot be read."""
    source, section = data.source, data.section
    with reporter(progress, f"Reading samples of {data.split}", len(source.numbers)) as report:
        for done, number in enumerate(source.numbers, 1):
            readers: list[Callable[[int], object]] = [source.picture] if section.camera else []
            for read in [*readers, source.radar] if section.radar != "none" else readers:
                if fault := _fault(lambda read=read, number=number: read(number)):  # type: ignore[misc]
                    yield f"sample {number:06d}: {fault}"
            report(done, len(source.numbers))


def _not_needed(source: RawRoot, radar: str) -> Iterator[Finding]:
    """What raw recordings lack and training does without."""
    if radar not in ("ra", "pc") and (fault := _fault(lambda: read_calibration(source.table_file, source.radar))):
        yield Finding(f"not needed for {radar}: {fault}", needed=False)
    labels = list(source.labels.values())
    without = len(labels) - len(source.usable(labels, (LIDAR,)))
    if without:
        yield Finding(f"not needed for training: {without} labelled frames have no lidar scan", needed=False)


def _fault(read: Callable[[], object]) -> str:
    """The error that ``read`` raises; empty if it raises none."""
    try:
        read()
    except PortbevError as error:
        return str(error)
    return ""
