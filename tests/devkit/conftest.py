"""Tests against nuscenes-devkit, skipped where it is absent. The cases of the metrics' own tests serve here too."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))


@pytest.fixture(scope="session")
def nuscenes_devkit():
    """The devkit's package."""
    return pytest.importorskip("nuscenes", reason="nuscenes-devkit is not installed (tox -e devkit)")
