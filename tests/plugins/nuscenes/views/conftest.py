"""A small synthetic data set and a run with predictions on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from portbev.config import load_config
from portbev.testing.runs import make_record, write_run
from portbev_nuscenes.metrics import PredictionArrays, load_ground_truth, write_predictions
from portbev_nuscenes.synth import SynthOptions, generate

VERSION = "v1.0-mini"


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("viz") / "data"
    options = SynthOptions(
        scenes=2, samples_per_scene=3, image_size=(160, 90), sweeps=0, lidar_beams=8, lidar_steps=90, version=VERSION
    )
    generate(root, options)
    return root


@pytest.fixture
def run(synthetic: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run whose predictions are the annotations that count."""
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "run"
    record = make_record(
        load_config("bevdepth/tiny_test", ["name=test"]),
        backend={"name": "npu", "label": "npu (emulated)", "emulated": True},
        data={"root": str(synthetic), "version": VERSION, "benchmark": "nuscenes"},
    )
    write_run(folder, record)
    everything = load_ground_truth(synthetic, VERSION, "synth_val")
    truth = everything.take(everything.num_pts > 0)
    predictions = PredictionArrays(
        sample_tokens=truth.sample_tokens,
        sample_index=truth.sample_index,
        label=truth.label,
        score=np.linspace(0.2, 1.0, len(truth.label)),
        translation=truth.translation,
        size=truth.size,
        rotation=truth.rotation,
        velocity=np.nan_to_num(truth.velocity),
        attribute=truth.attribute,
    )
    write_predictions(folder / "predictions.json", predictions)
    return folder
