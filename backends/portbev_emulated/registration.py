"""How torch's C++ side learns of the device: its hooks and its guard.

torch takes both from Python where it has ``torch._C._acc``; for an older
one, ``device.cpp`` is built, once for each torch.
"""

# mypy: disable-error-code="attr-defined, name-defined, misc"
# (private parts of torch, which have no types)

from __future__ import annotations

import ctypes
import hashlib
import os
import shlex
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch

from portbev.data.cache import cache_folder
from portbev.errors import BackendError
from portbev.files import atomic_write


def answerer() -> Any:
    """What :func:`register` needs, made before anything of the process is changed: a library, or None for Python.

    Raises:
        BackendError: this torch needs ``device.cpp`` and it does not build: no compiler, no headers.
    """
    return None if hasattr(torch._C, "_acc") else built()


def register(library: Any) -> None:
    """Give torch the hooks and the guard of the device, from ``library`` or, for None, from Python."""
    if library is None:
        _register_in_python()
    else:
        library.portbev_register_emulated_device()


def _register_in_python() -> None:
    class Hooks(torch._C._acc.PrivateUse1Hooks):
        """Answers to torch's questions about the accelerator."""

        def is_available(self) -> bool:
            return True

        def has_primary_context(self, dev_id: int) -> bool:
            return True

        def is_built(self) -> bool:
            return True

    class Guard(torch._C._acc.DeviceGuard):
        """Device guard of the one device."""

        def type_(self) -> Any:
            return torch._C._autograd.DeviceType.PrivateUse1

    torch._C._acc.register_python_privateuseone_hook(Hooks())
    torch._C._acc.register_python_privateuseone_device_guard(Guard())


def built() -> ctypes.CDLL:
    """The library of ``device.cpp`` for this torch, from the cache folder or built into it (seconds).

    Raises:
        BackendError: it does not build or does not load.
    """
    source = files(__package__).joinpath("device.cpp").read_text(encoding="utf-8")
    made_of = hashlib.sha256(f"{source}\n{torch.__version__}\n{torch.__file__}".encode()).hexdigest()[:16]
    path = cache_folder() / "emulated" / f"device-{made_of}.so"
    if not path.is_file():
        with atomic_write(path) as temporary:
            _compile(source, temporary)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise BackendError(f"cannot be loaded: {error}", where=str(path), cure="Delete it: it is built anew") from error


def _compile(source: str, path: Path) -> None:
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        raise _unbuilt("there is no C++ compiler")
    torch_folder = Path(torch.__file__).parent
    abi = f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"
    command = [*shlex.split(compiler), "-std=c++20", "-O1", "-shared", "-fPIC", abi, f"-I{torch_folder / 'include'}"]
    command += ["-x", "c++", "-", f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10", "-o", str(path)]
    try:
        done = subprocess.run(command, input=source, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _unbuilt(f"{compiler}: {error}") from error
    if done.returncode:
        said = done.stderr.splitlines()
        line = next((line for line in said if "error" in line), said[0] if said else f"exit status {done.returncode}")
        raise _unbuilt(f"{compiler}: {line.strip()}")


def _unbuilt(why: str) -> BackendError:
    return BackendError(
        f"torch {torch.__version__} takes no device from Python, and its C++ side cannot be built: {why}",
        where="--emulate",
        cure="Install g++, or name a compiler in CXX; a newer torch (2.13) needs none",
    )
