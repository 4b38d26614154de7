"""Archives read in place: what indexing takes, and how fast pictures are read, against unpacked ones.

    python benchmarks/archives.py index FOLDER [--files 100000] [--size 20000]
    python benchmarks/archives.py read FOLDER [--pictures 240]

``index`` makes a ``.tgz`` of small files, mostly noise as pictures are, in FOLDER and indexes it in
a process of its own, whose peak memory is what it prints. ``read`` makes pictures of 1600 x 900 as JPEG, packs them as
``.tar``, ``.tgz`` and ``.zip``, and reads them in random order from the folder and from each archive, in turns and in
one process; the page cache holds all of it. It prints medians, of the bytes alone and with decoding, as in training.
"""

from __future__ import annotations

import argparse
import io
import os
import random
import resource
import statistics
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np


def make_many(path: Path, files: int, size: int) -> None:
    rng = random.Random(0)
    with tarfile.open(path, "w:gz", compresslevel=6) as tar:
        for number in range(files):
            data = rng.randbytes(size * 9 // 10) + rng.randbytes(50) * (size // 500)
            info = tarfile.TarInfo(f"samples/CAM_{number % 6}/n015-2018-07-24-11-22-45+0800__{number:016d}.jpg")
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))


def index(folder: Path, files: int, size: int) -> None:
    path = folder / f"many_{files}_{size}.tgz"
    if not path.exists():
        make_many(path, files, size)
    environment = {**os.environ, "PORTBEV_CACHE": str(folder / f"cache-{os.getpid()}")}
    done = subprocess.run([sys.executable, __file__, "index-here", str(path)], env=environment, check=True)
    assert done.returncode == 0


def index_here(path: Path) -> None:
    from portbev.data.archives.store import make_index

    before, start, busy = peak(), time.perf_counter(), time.process_time()
    made = make_index(path, lambda done, total: None)
    took, cpu = time.perf_counter() - start, time.process_time() - busy
    total = sum(member.size for member in made.every())
    print(f"{path.name}: {path.stat().st_size / 1e9:.2f} GB, {made.count()} files of {total / 1e9:.2f} GB together")
    print(f"  {took:.1f} s ({cpu:.1f} s of one CPU), index {made.path.stat().st_size / 1e6:.1f} MB")
    print(f"  peak memory {peak():.0f} MB, of which {before:.0f} MB before")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def read(folder: Path, pictures: int) -> None:
    from PIL import Image

    from portbev.data.archives.found import open_archives
    from portbev.data.archives.gzips import SPACING
    from portbev.data.stores.store import StorePath
    from portbev.paths import DataPath

    os.environ["PORTBEV_CACHE"] = str(folder / f"cache-{os.getpid()}")
    plain = folder / "plain"
    names = [f"{number:04d}.jpg" for number in range(pictures)]
    if not plain.exists():
        plain.mkdir(parents=True)
        for number, name in enumerate(names):
            rng = np.random.default_rng(number)
            picture = np.kron(rng.integers(0, 256, (45, 80, 3)), np.ones((20, 20, 1)))
            picture = (picture + rng.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture).save(plain / name, quality=75)
    for ending in ("tar", "tgz"):
        with tarfile.open(folder / f"p.{ending}", "w:gz" if ending == "tgz" else "w") as tar:
            for name in names:
                tar.add(plain / name, name)
    with zipfile.ZipFile(folder / "p.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(plain / name, name)
    roots: dict[str, DataPath] = {"folder": plain}
    for ending in ("tar", "tgz", "zip"):
        [opened] = open_archives([folder / f"p.{ending}"], lambda _: True, whole=True, notes=[])
        roots[ending] = StorePath(opened)

    def decoded(path: DataPath) -> None:
        with path.open("rb") as file, Image.open(file) as image:
            image.convert("RGB")

    size = sum((plain / name).stat().st_size for name in names) / pictures
    print(f"{pictures} pictures of 1600 x 900, {size / 1e3:.0f} kB each; places in the .tgz every {SPACING >> 20} MiB")
    for what, work in (("bytes", lambda path: path.read_bytes()), ("bytes and decoding", decoded)):
        for root, (median, ratio) in times(roots, names, work).items():
            print(f"  {what}, {root}: {median * 1e3:.2f} ms, {ratio:.2f} times the folder's")


def times(
    roots: dict[str, object], names: list[str], work: Callable[[object], object]
) -> dict[str, tuple[float, float]]:
    """Median seconds of each root and its ratio to the first, each picture by all roots in turn."""
    taken: dict[str, list[float]] = {name: [] for name in roots}
    order = random.Random(0).sample(names, len(names))
    for turn in range(2):  # the first warms the cache
        for name in order:
            for root, path in roots.items():
                start = time.perf_counter()
                work(path / name)  # type: ignore[operator]
                if turn:
                    taken[root].append(time.perf_counter() - start)
    medians = {root: statistics.median(values) for root, values in taken.items()}
    first = next(iter(medians.values()))
    return {root: (median, median / first) for root, median in medians.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["index", "index-here", "read"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--size", type=int, default=20_000)
    parser.add_argument("--pictures", type=int, default=240)
    given = parser.parse_args()
    if given.what == "index":
        index(given.folder, given.files, given.size)
    elif given.what == "index-here":
        index_here(given.folder)
    else:
        read(given.folder, given.pictures)
