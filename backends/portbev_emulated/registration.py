"""How torch's C++ side learns of the device: its hooks and its guard.

torch takes both from Python where it has ``torch._C._acc``; for an older
one, ``device.cpp`` is built, once for each torch.
"""

# mypy: disable-error-code="attr-defined, name-defined, misc"
# (private parts of torch, which have no types)

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import torch

from portbev.compiled import NotCompiledError, load
from portbev.errors import BackendError


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
    torch_folder = Path(torch.__file__).parent
    flags = ["-std=c++20", "-O1", f"-D_GLIBCXX_USE_CXX11_ABI={int(torch.compiled_with_cxx11_abi())}"]
    flags += [f"-DPORTBEV_TORCH={torch.__version__}", f"-I{torch_folder / 'include'}"]  # another torch, another library
    flags += [f"-L{torch_folder / 'lib'}", "-ltorch_cpu", "-lc10"]
    try:
        return load(Path(__file__).with_name("device.cpp"), [flags])
    except NotCompiledError as error:
        raise _unbuilt(error.what) from error


def _unbuilt(why: str) -> BackendError:
    return BackendError(
        f"torch {torch.__version__} takes no device from Python, and its C++ side cannot be built: {why}",
        where="--emulate",
        cure="Install g++, or name a compiler in CXX; a newer torch (2.13) needs none",
    )
