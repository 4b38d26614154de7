"""Trees of files, packed in several ways."""

from __future__ import annotations

import io
import random
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

from portbev.data.archives.found import open_archives
from portbev.data.stores.store import StorePath
from portbev.paths import DataPath

Tree = dict[str, bytes]


def tree(seed: int = 0, files: int = 40) -> Tree:
    rng = random.Random(seed)
    own = {f"samples/CAM_{n % 3}/{seed}_{n}.jpg": rng.randbytes(rng.randrange(1, 30_000)) for n in range(files)}
    return {"v1.0-mini/sample.json": b"[" + b" " * 5000 + b"]", "samples/empty": b"", **own}


def pack(path: Path, files: Mapping[str, bytes], *, prefix: str = "") -> Path:
    """A ``.tar``, ``.tgz`` or ``.zip`` of ``files``, by its name."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files.items():
                how = zipfile.ZIP_STORED if name.endswith(".jpg") else zipfile.ZIP_DEFLATED
                archive.writestr(prefix + name, data, how)
        return path
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as tar:
        for name, data in files.items():
            add(tar, prefix + name, data)
    return path


def add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def opened(*paths: Path) -> DataPath:
    """The first of some archives that belong together, as a tree."""
    return StorePath(open_archives(paths, like, whole=True, notes=[])[0])


def like(folder: DataPath) -> bool:
    return (folder / "samples").is_dir() or (folder / "v1.0-mini").is_dir()


def contents(folder: DataPath, under: str = "") -> Tree:
    """Every file below a folder."""
    found: Tree = {}
    for path in folder.iterdir():
        name = f"{under}{path.name}"
        found |= contents(path, f"{name}/") if path.is_dir() else {name: path.read_bytes()}
    return found
