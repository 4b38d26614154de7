"""One tiny data set that the tests of the generator share."""

from __future__ import annotations

import pytest
from synth_dataset import TINY, Dataset, load

from portbev_nuscenes.synth import generate


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    root = generate(tmp_path_factory.mktemp("synth") / "tiny", TINY, workers=1)
    return load(root, TINY)
