"""Tests against nuscenes-devkit, skipped where it is absent. The cases of the metrics' own tests serve here too."""

import importlib
import importlib.util
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))


@pytest.fixture(scope="session")
def nuscenes_devkit():
    """The devkit's package. One that is there but cannot be imported is an error, not a skip."""
    if importlib.util.find_spec("nuscenes") is None:
        pytest.skip("nuscenes-devkit is not installed (tox -e devkit)")
    return importlib.import_module("nuscenes")
