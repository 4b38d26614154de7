"""A compressed stream entered in its middle, at every kind of place, against the whole of it."""

from __future__ import annotations

import gzip
import os
import random
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portbev.data.archives import gzips
from portbev.data.archives.deflate import Point, inflate
from portbev.errors import DataError

pytest.importorskip("indexed_gzip")


@pytest.fixture(autouse=True)
def _near_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gzips, "SPACING", 40_000)
    monkeypatch.setattr(gzips, "STRETCH", 300_000)
    monkeypatch.setattr(gzips, "BLOCK", 50_000)


def content(seed: int, size: int) -> bytes:
    """Noise (which is stored), repetitions and text, so that blocks of all kinds come and begin anywhere in a byte."""
    rng, parts = random.Random(seed), list[bytes]()
    while sum(map(len, parts)) < size:
        words = [rng.randbytes(rng.randrange(2, 9)) for _ in range(20)]
        parts.append(rng.randbytes(rng.randrange(1, 40_000)))
        parts.append(b"".join(rng.choices(words, k=rng.randrange(1, 9000))))
        parts.append(bytes(rng.choices(b"etaoin", k=rng.randrange(1, 9000))))
    return b"".join(parts)[:size]


def walk(path: Path, start: Point | None = None) -> tuple[bytes, list[Point]]:
    points: list[Point] = []
    return b"".join(gzips.blocks(path, start, points.extend)), points


@pytest.mark.parametrize("level", [1, 6, 9])
def test_a_walk_gives_the_whole_content_and_places_that_can_be_entered(tmp_path: Path, level: int) -> None:
    data, path = content(level, 1_200_000), tmp_path / "a.gz"
    path.write_bytes(gzip.compress(data, level))
    whole, points = walk(path)
    assert whole == data
    assert len(points) > 12 and [point.offset for point in points] == sorted({point.offset for point in points})
    assert len({point.bits for point in points}) > 3
    file = os.open(path, os.O_RDONLY)
    try:
        for point in points:
            assert inflate(file, point, 0, 5000) == data[point.offset :][:5000]
            assert inflate(file, point, 70_000, 300) == data[point.offset + 70_000 :][:300]
    finally:
        os.close(file)
    middle = points[len(points) // 2]
    assert walk(path, middle)[0] == data[middle.offset :]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 999), cuts=st.lists(st.integers(1, 250_000), max_size=3))
def test_files_of_several_streams_are_walked_to_their_end(
    tmp_path_factory: pytest.TempPathFactory, seed: int, cuts: list[int]
) -> None:
    data = content(seed, 260_000)
    edges = [0, *sorted(cuts), len(data)]
    path = tmp_path_factory.mktemp("streams") / "a.gz"
    streams = [gzip.compress(data[first:last]) for first, last in pairwise(edges) if last > first]
    path.write_bytes(b"".join(streams))
    whole, points = walk(path)
    assert whole == data
    assert sum(point.window is None for point in points) == len(streams)


@pytest.mark.parametrize("cut", [0.0003, 0.3, 0.999, 0.999999])
def test_a_truncated_file_is_told_from_a_whole_one(tmp_path: Path, cut: float) -> None:
    raw = gzip.compress(content(3, 900_000))
    path = tmp_path / "a.gz"
    path.write_bytes(raw[: int(len(raw) * cut)])
    with pytest.raises(DataError, match="truncated or damaged") as error:
        walk(path)
    assert error.value.where == str(path) and error.value.cure == "Fetch it again"


def test_a_file_with_a_changed_byte_is_refused(tmp_path: Path) -> None:
    raw = bytearray(gzip.compress(content(4, 200_000)))
    raw[-6] ^= 1  # its own checksum
    path = tmp_path / "a.gz"
    path.write_bytes(raw)
    with pytest.raises(DataError, match="truncated or damaged"):
        walk(path)
