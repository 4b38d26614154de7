"""The vendors' published wheels: which, fetched how, and their text. Nothing of them is imported."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

Sources = dict[str, str]  # path inside the wheel -> text
Facts = dict[str, Any]  # what is relied on in it


@dataclass(frozen=True)
class Wheel:
    """A file of the package index, by the SHA-256 that the index gives for it."""

    package: str
    version: str
    platform: str
    sha256: str

    @property
    def filename(self) -> str:
        return f"{self.package}-{self.version}-cp311-cp311-{self.platform}.whl"

    @property
    def module(self) -> str:
        """What is imported of it: two wheels may bring one module."""
        return "mx_driving" if self.package.startswith("mx_driving") else self.package

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


DRIVING = (
    Wheel(
        "mx_driving",
        "26.1.0.post2",
        "manylinux2014_x86_64",
        "fb77b9436e46eed507cb58dce34a449c27843f4cd075e65f36bf547a59e1feb9",
    ),
    Wheel(
        "mx_driving",
        "26.2.0.post2",
        "manylinux2014_x86_64",
        "e16254c20b7f545db6c53165d74e60ec56f06fbd0939a699c3a01941d1505da1",
    ),
)
TORCH_NPU = (
    Wheel(
        "torch_npu",
        "2.8.0.post5",
        "manylinux_2_28_x86_64",
        "ae866d77780152cfbff83f9ebd7fe2aceba985949ceceedafca12c075231f3ea",
    ),
    Wheel(
        "torch_npu",
        "2.13.0",
        "manylinux_2_28_x86_64",
        "0deb809cf447d3fce636ccfdc9c9f874950f1fe76f18f4aaab31e2d345f7dac0",
    ),
)

A5 = (
    Wheel(
        "mx_driving_a5",
        "26.2.0.post2",
        "manylinux2014_x86_64",
        "076cc7906a1a3a220033a001473cdeba38657df7f17ae98565d6c624a3f7ec6c",
    ),
)
TRITON_ASCEND = (
    Wheel(
        "triton_ascend",
        "3.2.0",
        "manylinux_2_27_x86_64.manylinux_2_28_x86_64",
        "17c8d7161eed1e96a286281963fe04d3113ee85affaa5d82c7dd0c35803962f0",
    ),
)
ASCEND = (*DRIVING, *A5, *TORCH_NPU, *TRITON_ASCEND)

CUPY = (
    Wheel(
        "cupy_cuda12x",
        "13.3.0",
        "manylinux2014_x86_64",
        "a0e3bead04e502ebde515f0343444ca3f4f7aed09cbc3a316a946cba97f2ea66",
    ),
    Wheel(
        "cupy_cuda12x",
        "14.2.0",
        "manylinux2014_x86_64",
        "5fe2366cc5c61a7ee4a527ce1e8951cb89092d0fb0b5830623cf114d1942c585",
    ),
    Wheel(
        "cupy_cuda13x",
        "13.6.0",
        "manylinux2014_x86_64",
        "82a71002b1bf3305efac27c0f4fd6771c8581569232ca3f8a19daf8664559339",
    ),
    Wheel(
        "cupy_cuda13x",
        "14.2.0",
        "manylinux2014_x86_64",
        "f94843e54500a9c8c169135f79572bfaba946efe4f7178e834c227280c1b0c12",
    ),
    Wheel(
        "cupy_rocm_5_0",
        "13.3.0",
        "manylinux2014_x86_64",
        "00907762735d182737bee317f532dc381337fb8e978bd846acb268df463b2d7b",
    ),
    Wheel(
        "cupy_rocm_7_0",
        "14.0.0",
        "manylinux2014_x86_64",
        "e6b75deebd3219d3cab94a9da7f0aa585c8c7a86131782e8ea11368f2f04048a",
    ),
    Wheel(
        "cupy_rocm_7_0",
        "14.2.0",
        "manylinux2014_x86_64",
        "8e824c1c2fc386e72fe8ae69ab7c273326b17650160400f8f4ea2c932189ed1a",
    ),
)
TRITON = (
    Wheel(
        "triton",
        "3.2.0",
        "manylinux_2_17_x86_64.manylinux2014_x86_64",
        "8009a1fb093ee8546495e96731336a33fb8856a38e45bb4ab6affd6dbc3ba220",
    ),
    Wheel(
        "triton",
        "3.9.0",
        "manylinux_2_27_x86_64.manylinux_2_28_x86_64",
        "1622118a038b0c6e16fa4a0305da62c8b3c15904ee1cc4d4e65846a25969e41e",
    ),
)
GPU = (*CUPY, *TRITON)
"""1.1 GB together: ``tox -e vendor-gpu`` alone downloads them."""


class OfflineError(Exception):
    """The package index could not be asked."""


class WrongFileError(Exception):
    """There is no such file, or it is not the one that the project has read."""


def fetch(wheel: Wheel, folder: Path) -> Path:
    """The wheel's file in ``folder``, downloaded by pip unless it lies there: 6 to 54 MB, those for GPUs to 286 MB.

    Raises:
        OfflineError: the index did not answer; with pip's last line.
        WrongFileError: its SHA-256 is another, or the index no longer has it.
    """
    path = folder / wheel.filename
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version=311", f"--platform={wheel.platform.split('.')[-1]}", f"--dest={folder}"]
        command.append(f"{wheel.package}=={wheel.version}")
        environment = {**os.environ, "PIP_CONSTRAINT": os.devnull}  # what binds the tests' own packages
        try:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
        except subprocess.TimeoutExpired as error:
            raise OfflineError(f"{wheel} did not come in {error.timeout:.0f} s") from error
        if done.returncode or not path.exists():
            said = (done.stderr.strip().splitlines() or ["?"])[-1]
            unheard = any(words in done.stderr for words in ("from versions: none", "onnection", "timed out"))
            raise (OfflineError if unheard else WrongFileError)(f"{wheel} could not be downloaded: {said}")
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel.sha256:
        raise WrongFileError(f"{path.name}: SHA-256 is {found}, expected {wheel.sha256}")
    return path


def sources(path: Path, wanted: Callable[[str], bool]) -> Sources:
    """Text of the members that are ``wanted``."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if wanted(name)]
        return {name: archive.read(name).decode("utf-8") for name in names}


def members(path: Path) -> set[str]:
    """Names of all files in a wheel."""
    with zipfile.ZipFile(path) as archive:
        return set(archive.namelist())


@lru_cache(maxsize=1)
def library(path: Path, member: str) -> bytes:
    """The bytes of a shared library in a wheel (libtorch_npu.so: 97 MB)."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)


def requires(found: Sources) -> list[str]:
    """The wheel's dependencies."""
    metadata = next(text for name, text in found.items() if name.endswith("METADATA"))
    return [line.partition(": ")[2] for line in metadata.splitlines() if line.startswith("Requires-Dist: ")]
