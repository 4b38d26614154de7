"""An emulated Ascend npu for machines without one (``--backend npu --emulate``).

A run made on it says ``emulated`` wherever its device is named: it proves that the logic is portable (placement,
dispatch, argument layouts, limits, collectives), never Ascend's numerics. Its bytes are host memory, its operators
run on the CPU, its process group ``hccl`` is gloo underneath, and it refuses what Ascend does not list.

Files: ``memory`` (tensors over host memory), ``execute`` (every operator), ``storage`` (operators that move storages),
``registration`` and ``device.cpp`` (hooks and guard), ``module`` (``torch.npu``), ``autocast``, ``saving``, ``norms``
(SyncBatchNorm), ``collectives`` (``hccl``), ``refused`` (what Ascend does not list), ``standins`` (``torch_npu``,
``mx_driving``), ``kernels``, ``install``.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.backend import Emulator
    from portbev.kernels import Kernel


def _install() -> None:
    from portbev_emulated.install import install

    install()


def _installed() -> bool:
    module = sys.modules.get("portbev_emulated.install")
    return module is not None and bool(module.installed())


@hookimpl
def portbev_emulators() -> list[Emulator]:
    """The emulated npu; nothing of it is imported before it is installed."""
    from portbev.backend import Emulator

    what = "Ascend npu in host memory, with stand-ins for torch_npu and mx_driving"
    return [Emulator("npu", _install, _installed, what)]


@hookimpl
def portbev_kernels() -> list[Kernel]:
    """What the emulated npu computes with where no vendor's kernel takes a call."""
    from portbev_emulated.kernels import KERNELS

    return list(KERNELS)
