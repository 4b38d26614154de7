"""Run directories made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from handmade import make

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run("cpu", meta={...}, ...)`` -> a run directory of that name; see :func:`handmade.make`."""
    return lambda name, *args, **changes: make(tmp_path / name, *args, **changes)
