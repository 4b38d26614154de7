"""Tests against nuscenes-devkit, skipped where it is absent. The cases of the metrics' own tests serve here too."""

import importlib
import importlib.metadata
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "metrics"))


@pytest.fixture(scope="session")
def nuscenes_devkit():
    """The devkit's package. One that is there but cannot be imported is an error, not a skip."""
    try:
        importlib.metadata.distribution("nuscenes-devkit")  # not find_spec: a folder of tests is called nuscenes too
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("nuscenes-devkit is not installed (tox -e devkit)")
    return importlib.import_module("nuscenes")
