"""AMD ROCm as a portbev plugin.

Written from PyTorch's and AMD's documentation and not yet run on such a device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from portbev.hookspecs import hookimpl

if TYPE_CHECKING:
    from portbev.backend import Backend
    from portbev.doctor import Checkup


@hookimpl
def portbev_backends() -> list[Backend]:
    """The backend ``rocm``."""
    from portbev_rocm.backend import RocmBackend

    return [RocmBackend()]


@hookimpl
def portbev_checkups() -> list[Checkup]:
    """AMD's GPU, driver and libraries, for ``portbev doctor``."""
    from portbev_rocm.checkup import CHECKUP

    return [CHECKUP]
