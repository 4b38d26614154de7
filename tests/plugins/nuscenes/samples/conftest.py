"""One tiny generated data set that the data tests share, and a copy of it to damage."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev_nuscenes.config import NuscenesData
from portbev_nuscenes.synth import SynthOptions, generate

VERSION = "v1.0-mini"
SIZE = (200, 112)
OPTIONS = SynthOptions(
    scenes=3, val_scenes=1, samples_per_scene=3, seed=6, image_size=SIZE, sweeps=1, lidar_beams=12, lidar_steps=180
)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("nuscenes") / "root", OPTIONS, workers=1)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test has a cache of its own."""
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copy(root: Path, tmp_path: Path) -> Path:
    """A copy of the data set that a test may damage."""
    return Path(shutil.copytree(root, tmp_path / "copy"))


@pytest.fixture
def edit() -> Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]:
    """Change the rows of a table: ``edit(root, "sample", lambda rows: rows.pop())``."""

    def change(root: Path, table: str, how: Callable[[list[dict[str, Any]]], Any]) -> None:
        path = root / VERSION / f"{table}.json"
        rows = json.loads(path.read_text())
        how(rows)
        path.write_text(json.dumps(rows))

    return change


@pytest.fixture
def section() -> Callable[..., NuscenesData]:
    """A data section for the tiny data set; keywords change it."""

    def make(**changes: Any) -> NuscenesData:
        image = {"source_size": SIZE[::-1], "final_size": (64, 176), "resize": (0.8, 1.1), **changes.pop("image", {})}
        values = {"version": VERSION, "train_split": "synth_train", "eval_split": "synth_val", "image": image}
        return NuscenesData(**{**values, **changes})

    return make
