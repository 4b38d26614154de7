"""Generated scenes, and classes under mmdet3d's names."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from standin_pickles import MODULES, VERSION, BoxClass, lidar_boxes

from portbev_nuscenes.synth import SynthOptions, generate
from portbev_nuscenes.tables.build import build_index
from portbev_nuscenes.tables.index import Index


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = SynthOptions(
        scenes=2, val_scenes=1, samples_per_scene=3, image_size=(160, 96), sweeps=0, lidar_steps=90, seed=3, can_bus=0
    )
    return generate(tmp_path_factory.mktemp("data") / "scenes", options, progress=False)


@pytest.fixture(scope="session")
def index(root: Path) -> Index:
    return build_index(root / VERSION)


@pytest.fixture
def box_class(monkeypatch: pytest.MonkeyPatch) -> Callable[..., BoxClass]:
    """Makes a class that ``pickle`` finds under mmdet3d's name."""

    def make(version: str = "0", name: str = "LiDARInstance3DBoxes") -> BoxClass:
        path = MODULES[version]
        parts = path.split(".")
        for end in range(1, len(parts) + 1):
            module = ".".join(parts[:end])
            if module not in sys.modules:
                monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
        if not hasattr(sys.modules[path], name):
            setattr(sys.modules[path], name, lidar_boxes(path, name))
        made: BoxClass = getattr(sys.modules[path], name)
        return made

    return make
