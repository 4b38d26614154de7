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

Sources = dict[str, str]  # path inside the wheel -> text


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


class OfflineError(Exception):
    """The package index could not be asked."""


class WrongFileError(Exception):
    """There is no such file, or it is not the one that the project has read."""


def fetch(wheel: Wheel, folder: Path) -> Path:
    """The wheel's file in ``folder``, downloaded by pip unless it lies there; about 8 MB, of torch_npu about 40 MB.

    Raises:
        OfflineError: the index did not answer; with pip's last line.
        WrongFileError: its SHA-256 is another, or the index no longer has it.
    """
    path = folder / wheel.filename
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += ["--python-version=311", f"--platform={wheel.platform}", f"--dest={folder}"]
        command.append(f"{wheel.package}=={wheel.version}")
        environment = {**os.environ, "PIP_CONSTRAINT": os.devnull}  # what binds the tests' own packages
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=240, check=False)
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


@lru_cache(maxsize=1)
def library(path: Path, member: str) -> bytes:
    """The bytes of a shared library in a wheel (libtorch_npu.so: 97 MB)."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(member)
