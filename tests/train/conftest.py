"""A toy model family, a tiny data set, and configurations of both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toy_settings import toy_settings

from portbev.config import RunConfig, load_config
from portbev.plugins import plugins
from portbev_nuscenes.synth import SynthOptions, generate

Command = Callable[..., "subprocess.CompletedProcess[str]"]
HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def toy_family() -> None:
    """The family ``toy`` in this process."""
    sys.path.insert(0, str(HERE))
    import toy_plugin

    found = plugins()
    if not found.manager.is_registered(toy_plugin):
        found.register(toy_plugin, "toy")
        found._cache.pop("portbev_models", None)


@pytest.fixture(scope="session")
def tiny_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 training and 4 validation samples of 160 x 90 pixels."""
    options = SynthOptions(
        scenes=4, val_scenes=1, samples_per_scene=4, image_size=(160, 90), sweeps=0, lidar_beams=4, lidar_steps=32
    )
    return generate(tmp_path_factory.mktemp("data") / "tiny", options)


@pytest.fixture(scope="session")
def toy(toy_family: None) -> Callable[..., RunConfig]:
    """Makes a configuration of the toy model."""
    return lambda **changes: load_config(toy_settings(**changes))


@pytest.fixture(scope="session")
def toy_environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment in which a new process finds the toy family by its entry point."""
    folder = tmp_path_factory.mktemp("toy")
    info = folder / "portbev_toy-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: portbev-toy\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[portbev]\ntoy = toy_plugin\n")
    paths = [str(folder), str(HERE), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}


@pytest.fixture
def toy_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration of the toy model; YAML reads JSON."""

    def write(**changes: Any) -> Path:
        path = tmp_path / "toy.yaml"
        path.write_text(json.dumps(toy_settings(**changes)))
        return path

    return write


@pytest.fixture
def command(toy_environment: dict[str, str]) -> Command:
    """Runs ``python -m portbev ...`` as a command of its own."""

    def run(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "portbev", *map(str, arguments)]
        environment = {**toy_environment, **options.pop("env", {})}
        return subprocess.run(
            words, env=environment, capture_output=True, text=True, timeout=240, check=False, **options
        )

    return run
