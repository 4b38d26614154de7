"""A C++ source of a package as a library: compiled where it is first needed, and kept in the cache folder."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import platform
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from portbev.data.cache import cache_folder
from portbev.errors import PortbevError
from portbev.files import atomic_write
from portbev.host import cxx_compiler

_FLAGS = ("-fPIC", "-shared")
_SECONDS = 300
_DIGEST = 32


class NotCompiledError(PortbevError):
    """Why a source could not be compiled, or its library not loaded."""


def load(source: Path, attempts: Sequence[Sequence[str]]) -> ctypes.CDLL:
    """The library of a C++ source, compiled now or earlier.

    Its name has a digest of the source and the flags, and it is put in its place whole: several processes may compile
    it at once.

    Args:
        attempts: the compiler's flags that are tried in turn, until a library loads.

    Raises:
        NotCompiledError: no compiler, it failed, or the system does not load what it made.
    """
    kept = cache_folder() / "compiled" / _name(source, attempts)
    try:
        if _is_whole(kept):
            return ctypes.CDLL(str(kept))
    except OSError:  # not there, or compiled on a system that this one is not like
        pass
    return _compile(source, attempts, kept)


def _name(source: Path, attempts: Sequence[Sequence[str]]) -> str:
    key = hashlib.sha256(source.read_bytes() + repr((attempts, platform.machine())).encode()).hexdigest()
    return f"{source.stem}-{key[:16]}.so"


def _compile(source: Path, attempts: Sequence[Sequence[str]], kept: Path) -> ctypes.CDLL:
    compiler = cxx_compiler()
    if compiler is None:
        what = "there is no C++ compiler (what CXX names, g++, clang++, c++)"
        raise NotCompiledError(what, cure="Install one, for example: apt-get install g++")
    failures = []
    with tempfile.TemporaryDirectory(dir=_writable(kept.parent)) as folder:
        library = Path(folder) / kept.name
        for flags in attempts:
            failure = _failure([*compiler, str(source), *_FLAGS, *flags, "-o", str(library)])
            if failure is None:
                try:
                    found = ctypes.CDLL(str(library))
                    _keep(library, kept)
                    return found
                except OSError as error:
                    failure = f"{error} (PORTBEV_CACHE may name a folder whose files may be executed)"
            failures.append(failure)
    raise NotCompiledError(f"{' '.join(compiler)} does not compile {source.name}: {failures[-1]}")


def _writable(folder: Path) -> Path | None:
    """``folder``, or None where it cannot be written. Many systems load no library from their temporary folder."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder if os.access(folder, os.W_OK) else None


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
