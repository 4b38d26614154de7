"""Recordings that are generated once."""

from __future__ import annotations

from pathlib import Path

import pytest
from radial_recordings import TINY

from portbev_radial.synth import generate


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Never written to: tests that damage something take a copy."""
    return generate(tmp_path_factory.mktemp("radial") / "recordings", TINY, workers=1)
