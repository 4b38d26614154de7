"""Wheels for tests: each is read once, from the folder that ``PORTBEV_VENDOR_WHEELS`` names."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest
from vendor_facts import read
from vendor_wheels import Facts, OfflineError, Sources, Wheel


def folder() -> Path | None:
    """Where downloads are kept; None where these tests are not asked for."""
    found = os.environ.get("PORTBEV_VENDOR_WHEELS")
    return Path(found) if found else None


_unreached: list[OfflineError] = []  # the index is not asked again once it did not answer


@cache
def _read(wheel: Wheel) -> tuple[Sources, Facts] | OfflineError:
    place = folder()
    assert place is not None
    if _unreached and not (place / wheel.filename).exists():
        return _unreached[0]
    try:
        return read(wheel, place)
    except OfflineError as error:
        _unreached.append(error)
        return error


def wheel_of(wheel: Wheel) -> tuple[Sources, Facts]:
    """Text and facts of a wheel; the test is skipped with the reason where the package index is out of reach."""
    found = _read(wheel)
    if isinstance(found, OfflineError):
        pytest.skip(str(found))
    return found
