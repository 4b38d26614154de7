"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable

from portbev.errors import PortbevError

LAUNCHER = "Who started the processes: auto (torchrun, or one alone), none, pytorch, slurm, mpi."
DATA_ROOT = "Folder of the data set; or PREFIX:?OPTIONS for data that a plugin generates."


def kernel_settings(items: Iterable[str]) -> list[str]:
    """``--kernel OP=PROVIDER`` items as settings of the configuration.

    Raises:
        PortbevError: an item without ``=``.
    """
    settings = []
    for item in items:
        operator, separator, provider = item.partition("=")
        if not (separator and operator and provider):
            raise PortbevError(
                f"cannot read {item!r}",
                where="--kernel",
                cure="Write OPERATOR=PROVIDER, for example voxel_pool=reference",
            )
        settings.append(f"compute.kernels.{operator}={provider}")
    return settings
