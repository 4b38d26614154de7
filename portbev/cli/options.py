"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterable

from portbev.errors import PortbevError


def kernel_choice(items: Iterable[str]) -> dict[str, str]:
    """``--kernel OP=PROVIDER`` items as a mapping.

    Raises:
        PortbevError: an item without ``=``.
    """
    choice: dict[str, str] = {}
    for item in items:
        operator, separator, provider = item.partition("=")
        if not (separator and operator and provider):
            raise PortbevError(
                f"cannot read {item!r}",
                where="--kernel",
                cure="Write OPERATOR=PROVIDER, for example voxel_pool=reference",
            )
        choice[operator] = provider
    return choice
