"""Installing the emulated npu into this process, once.

It uses private interfaces of torch, the only part of the project that does: a torch that has others is refused.
"""

from __future__ import annotations

import glob
import sys
import warnings

import torch

from portbev.errors import BackendError
from portbev_emulated.memory import DEVICE_TYPE

TESTED = "2.8, 2.9, 2.13 or 2.15"
_libraries: list[torch.library.Library] = []


def installed() -> bool:
    """Whether this process has the emulated npu."""
    return bool(_libraries)


def install() -> None:
    """Make torch know the device type ``npu`` and put the stand-ins of the vendor's packages in place.

    It cannot be undone: tests that need a process without it use another process.

    Raises:
        BackendError: this torch lacks what it needs, a real npu (or its torch_npu) is here, or a backward pass ran in
            this process before.
    """
    if not installed():
        _check()
        try:
            _register()
        except (AttributeError, ImportError, NotImplementedError, RuntimeError, TypeError) as error:
            _libraries.clear()
            raise _foreign(error) from error
    _check_autograd()


def _register() -> None:
    from portbev_emulated import (
        autocast,
        collectives,
        execute,
        module,
        norms,
        refused,
        registration,
        saving,
        standins,
        storage,
    )

    answerer = registration.answerer()
    everything, aten = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    _libraries.extend((everything, aten))
    module.register()
    registration.register(answerer)
    everything.fallback(execute.run, "PrivateUse1")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*[Oo]verriding a previously registered kernel.*")
        storage.register(aten)
        refused.register(aten)
        norms.register(aten)
        autocast.register(aten, everything)
        saving.register(aten)
    collectives.register()
    standins.register()


def _check() -> None:
    if glob.glob("/dev/davinci[0-9]*"):
        raise BackendError(
            "this machine has a real npu (/dev/davinci*)", where="--emulate", cure="Leave --emulate out to use it"
        )
    taken = torch._C._get_privateuse1_backend_name()
    if "torch_npu" in sys.modules or taken not in ("privateuseone", DEVICE_TYPE):
        other = "torch_npu" if "torch_npu" in sys.modules else f"a device named {taken!r}"
        raise BackendError(
            f"{other} is loaded in this process already",
            where="--emulate",
            cure="Start with TORCH_DEVICE_BACKEND_AUTOLOAD=0, or uninstall it",
        )


def _check_autograd() -> None:
    """torch makes its backward threads, one per device, at the first backward pass: a later device gets none."""
    try:
        torch.zeros(1, device=DEVICE_TYPE, requires_grad=True).sum().backward()
    except RuntimeError as error:
        raise BackendError(
            "a backward pass ran in this process before the emulated npu was installed, and torch has no thread for it",
            where="--emulate",
            cure='Call portbev.activate("npu", emulate=True) first, or start a new process',
        ) from error


def _foreign(error: Exception) -> BackendError:
    why = (str(error).splitlines() or [type(error).__name__])[0]
    return BackendError(
        f"the private interfaces of torch {torch.__version__} are not those that the emulated npu needs: {why}",
        where="--emulate",
        cure=f"Install a torch that it was tested with ({TESTED}) to emulate; everything else works with this one",
    )
