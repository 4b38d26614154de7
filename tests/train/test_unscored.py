"""Training whose evaluation split has no annotations ends with predictions and says that they are not scored."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from portbev.cli import main
from portbev.runs import load_run
from portbev_nuscenes.synth import SynthOptions, generate


def test_training_ends_with_predictions_and_every_reader_says_that_they_are_not_scored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    options = SynthOptions(scenes=2, samples_per_scene=1, image_size=(200, 112), sweeps=0, lidar_steps=90)
    tables = generate(tmp_path / "data", options, progress=False) / "v1.0-mini"
    scene = json.loads((tables / "scene.json").read_text())[-1]["token"]
    blind = {row["token"] for row in json.loads((tables / "sample.json").read_text()) if row["scene_token"] == scene}
    rows = json.loads((tables / "sample_annotation.json").read_text())
    kept = [row for row in rows if row["sample_token"] not in blind]
    assert 0 < len(kept) < len(rows)
    (tables / "sample_annotation.json").write_text(json.dumps(kept))
    run = tmp_path / "run"
    words = ["--backend", "cpu", "--data-root", str(tmp_path / "data"), "--out", str(run)]
    limits = ["--set", "train.max_steps=1", "--set", "train.batch_size=1", "--set", "train.eval_every=1"]
    assert main(["train", "bevdepth/tiny_test", *words, *limits]) == 0
    said = capsys.readouterr().out
    assert "not scored: the split has no annotations" in said
    loaded = load_run(run)
    assert loaded.status == "finished" and loaded.metrics is not None and not loaded.metrics.scored
    assert set(json.loads(loaded.predictions.read_text())["results"]) == blind
    assert main(["parity", "report", str(run)]) == 0
    assert "not scored: split synth_val has no annotations" in (run / "report" / "report.md").read_text()
