"""Sensor files opened and decoded, each of them, for ``portbev data check``."""

from __future__ import annotations

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal, NamedTuple

from PIL import Image

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_nuscenes.checks.files import Size, differing_sizes
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.samples.images import open_image
from portbev_nuscenes.samples.lidar import read_lidar
from portbev_nuscenes.tables.rows import LIDAR

Files = Literal["none", "key", "all"]


class Opened(NamedTuple):
    """What a file was: its defect if there is one, and (height, width) of a picture."""

    problem: Problem | None = None
    size: Size | None = None


def check_files(
    root: DataPath,
    rows: Sequence[Any],
    channels: Sequence[str],
    lidar_values: int | None,
    progress: Callable[[int, int], None] | None,
) -> Iterator[Problem]:
    """Open files of sample_data; those that are missing are passed over.

    Args:
        root: data root.
        rows: rows of sample_data.
        channels: of each row.
        lidar_values: float32 values of a lidar point; None leaves lidar files alone.
        progress: called with (files done, files in all).
    """
    sizes: dict[str, Counter[Size]] = {}
    first: dict[tuple[str, Size], str] = {}
    untold = 0
    pairs = list(zip(rows, channels, strict=True))
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        found = _in_order(pool, pairs, lambda pair: _open(root / pair[0].filename, pair[0], pair[1], lidar_values))
        for done, ((row, channel), (problem, size)) in enumerate(zip(pairs, found, strict=True), 1):
            if problem is not None:
                yield problem
            if size is not None:
                sizes.setdefault(channel, Counter())[size] += 1
                first.setdefault((channel, size), str(root / row.filename))
                untold += bool(row.width and row.height) and size != (row.height, row.width)
            if progress is not None:
                progress(done, len(pairs))
    yield from _sizes(sizes, first)
    if untold:
        what = f"width and height of {untold} rows are not those of their pictures"
        yield Problem(str(root), f"sample_data: {what}", needed=False)


def _sizes(sizes: dict[str, Counter[Size]], first: dict[tuple[str, Size], str]) -> Iterator[Problem]:
    """Problems of pictures that are not all of one size."""
    usual = {channel: counts.most_common(1)[0][0] for channel, counts in sizes.items()}
    for channel, counts in sizes.items():
        height, width = usual[channel]
        for size, count in counts.items():
            if size != usual[channel]:
                what = f"{count} pictures of {channel} are {size[1]} x {size[0]}, the others {width} x {height}"
                yield Problem(first[channel, size], what, "Scale them to one size, with their camera_intrinsic")
    where = next(iter(first.values()), "")
    yield from differing_sizes(usual, where)


def _open(path: DataPath, row: Any, channel: str, lidar_values: int | None) -> Opened:
    try:
        if path.suffix.lower() in Image.registered_extensions() and path.is_file():
            image = open_image(path, token=row.sample_token)
            return Opened(size=(image.height, image.width))
        if channel == LIDAR and lidar_values is not None and path.is_file():
            read_lidar(path, token=row.sample_token, values=lidar_values)
    except DataError as error:
        return Opened(Problem(error.where, error.what, error.cure))
    return Opened()


def _in_order(pool: ThreadPoolExecutor, rows: Iterable[Any], work: Callable[[Any], Any]) -> Iterator[Any]:
    """Yield ``work(row)`` for each row, in order; at most 256 rows are submitted ahead."""
    ahead: deque[Future[Any]] = deque()
    for row in rows:
        ahead.append(pool.submit(work, row))
        if len(ahead) >= 256:
            yield ahead.popleft().result()
    while ahead:
        yield ahead.popleft().result()
