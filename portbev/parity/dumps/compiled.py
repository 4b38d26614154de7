"""A C++ source of this package as a library: compiled where it is first needed, and kept in the cache folder."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from portbev.data.cache import cache_folder
from portbev.errors import PortbevError
from portbev.files import atomic_write
from portbev.host import cxx_compiler

ATTEMPTS = (("-fopenmp",), ("-fopenmp", "-DPORTBEV_ONE_TARGET"), ("-DPORTBEV_ONE_TARGET",))
"""Flags that are tried in turn: some compilers have no OpenMP, some no function for several kinds of processor."""
_FLAGS = ("-std=c++17", "-O3", "-fPIC", "-shared")
_SECONDS = 120
_DIGEST = 32


class NotCompiledError(PortbevError):
    """Why a source could not be compiled, or its library not loaded."""


def load(source: Path) -> ctypes.CDLL:
    """The library of a C++ source, compiled now or earlier.

    Its name has the source's digest, and it is put in its place whole: several processes may compile it at once.

    Raises:
        NotCompiledError: no compiler, it failed, or the system does not load what it made.
    """
    kept = cache_folder() / "compiled" / _name(source)
    try:
        if _is_whole(kept):
            return ctypes.CDLL(str(kept))
    except OSError:  # not there, or compiled on a system that this one is not like
        pass
    return _compile(source, kept)


def _name(source: Path) -> str:
    key = hashlib.sha256(source.read_bytes() + repr((_FLAGS, ATTEMPTS, platform.machine())).encode()).hexdigest()
    return f"{source.stem}-{key[:16]}.so"


def _compile(source: Path, kept: Path) -> ctypes.CDLL:
    compiler = cxx_compiler()
    if compiler is None:
        what = "there is no C++ compiler (what CXX names, g++, clang++, c++)"
        raise NotCompiledError(what, cure="Install one, for example: apt-get install g++")
    failures = []
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / kept.name
        for flags in ATTEMPTS:
            failure = _failure([*compiler, *_FLAGS, *flags, "-o", str(library), str(source)])
            if failure is None:
                try:
                    found = ctypes.CDLL(str(library))
                    _keep(library, kept)
                    return found
                except OSError as error:
                    failure = str(error)
            failures.append(failure)
    raise NotCompiledError(f"{' '.join(compiler)} does not compile {source.name}: {failures[-1]}")


def _failure(command: Sequence[str]) -> str | None:
    """Run a compiler; None, or why it failed."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    if not done.returncode:
        return None
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return next((line for line in lines if "error" in line), f"exit status {done.returncode}")


def _keep(library: Path, kept: Path) -> None:
    """Put the library in the cache, where that can be written: it is compiled again otherwise."""
    content = library.read_bytes()
    with contextlib.suppress(PortbevError), atomic_write(kept) as part:
        part.write_bytes(content + hashlib.sha256(content).digest())  # behind the end of a library anything may stand


def _is_whole(kept: Path) -> bool:
    """Whether the file is as it was written: loading a part of a library ends the process."""
    content = kept.read_bytes()
    return hashlib.sha256(content[:-_DIGEST]).digest() == content[-_DIGEST:]
