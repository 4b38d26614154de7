"""What a plugin may offer.

A plugin is an importable module named by an entry point of group ``portbev``; it implements any of these hooks with
:data:`hookimpl`. Hooks return records, they do no work: nothing is probed or imported until it is asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from portbev.backend import Backend, Emulator
    from portbev.kernels import Kernel
    from portbev.models import ModelFamily

GROUP = "portbev"
hookspec = pluggy.HookspecMarker(GROUP)
hookimpl = pluggy.HookimplMarker(GROUP)


@hookspec
def portbev_backends() -> list[Backend]:  # type: ignore[empty-body]
    """Device families that this plugin brings."""


@hookspec
def portbev_emulators() -> list[Emulator]:  # type: ignore[empty-body]
    """Emulated devices, by the name of the backend they stand in for (``--emulate``)."""


@hookspec
def portbev_kernels() -> list[Kernel]:  # type: ignore[empty-body]
    """Kernels for operators of :mod:`portbev.ops`."""


@hookspec
def portbev_models() -> list[ModelFamily]:  # type: ignore[empty-body]
    """Model families: the schema of their configuration and how to build them."""
