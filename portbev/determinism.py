"""Which results of a process are not the same bits in every run: before it computes, and after."""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

from portbev.kernels import KERNELS, REFERENCE
from portbev.precision import Determinism

_TOLD = re.compile(
    r"(.+?) does not have a deterministic implementation, but|(.+?) defaults to a non-deterministic algor"
)


def forecast(setting: Determinism) -> list[str]:
    """A line on what may give other bits in another run on the active backend; none where nothing may.

    It names the operators whose kernels are not deterministic, with who would serve them if that were required.
    """
    parts = []
    for operator, found in sorted(KERNELS.ranked().items()):
        names = [kernel.provider for kernel in found.kernels]
        before = names.index(REFERENCE) if REFERENCE in names else len(names)  # the reference serves every call
        varying = [kernel.provider for kernel in found.kernels[:before] if not kernel.deterministic]
        if varying:
            others = [kernel.provider for kernel in found.kernels if kernel.deterministic]
            parts.append(f"{operator} by {', '.join(varying)} (required: {', '.join(others) or 'nobody'})")
    if setting == "off":
        parts.append("torch's own functions (required: its deterministic ones)")
    return [f"compute.deterministic is {setting}, not bit-reproducible are: {'; '.join(parts)}"] if parts else []


def heard(before: Collection[str] = ()) -> list[str]:
    """A line on torch's functions that have no deterministic algorithm and were called, without those of ``before``."""
    names = sorted(KERNELS.ledger.torch.difference(before))
    return [f"not bit-reproducible: torch has no deterministic algorithm for {', '.join(names)}"] if names else []


@contextmanager
def listening() -> Iterator[None]:
    """Inside, torch's warnings of functions without a deterministic algorithm go to the ledger, not to the console."""
    show = warnings.showwarning
    if getattr(show, "keeps_determinism", False):
        yield
        return

    def keep(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
        told = _TOLD.match(str(message))
        if told is None:
            show(message, category, *place, **more)
        else:
            KERNELS.ledger.torch.add(told[1] or told[2])

    keep.keeps_determinism = True  # type: ignore[attr-defined]
    warnings.showwarning = keep
    try:
        yield
    finally:
        if warnings.showwarning is keep:
            warnings.showwarning = show
