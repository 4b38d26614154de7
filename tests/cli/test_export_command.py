"""``portbev export`` on a trained run, as a user types it, and what the file then does."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from portbev.cli import main
from portbev.digests import file_digest
from portbev.export.predictor import open_predictor
from portbev.export.trained import open_trained


def test_a_run_is_exported_checked_and_predicts_what_it_did(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.pt2"
    assert main(["export", str(trained), "--to", "pt2", "--out", str(out), "--samples", "2"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert f"written: {out} (pt2, " in printed.out and "checked on 2 samples" in printed.out
    manifest = json.loads((tmp_path / "mine.pt2.json").read_text())
    assert manifest["files"] == {"mine.pt2": file_digest(out)}
    assert [one["name"] for one in manifest["inputs"]] == ["images", "camera", "voxels"]
    assert manifest["parity"]["samples"] == 2 and manifest["parity"]["boxes"]["boxes"] > 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.pt2", "mine.pt2.json"]

    program = torch.export.load(out)  # by torch alone: no operator of ours is in it
    assert not [n for n in program.graph.nodes if "portbev" in str(n.target)]

    predictor, run = open_predictor(out), open_trained(trained)
    samples = predictor.samples()
    for index, _ in samples.order(2):
        (found,) = predictor([samples.request(index)])
        batch = run.dataset.collate([run.dataset.sample(index, 0)])
        with torch.no_grad():
            (wanted,) = run.model.decode(run.model(batch), batch)
        assert len(found.detections.boxes) == len(wanted.boxes) > 0
        assert np.abs(found.detections.boxes - wanted.boxes).max() < 1e-3
        assert (found.detections.labels == wanted.labels).all()


def test_a_run_without_weights_is_one_line(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_bytes((trained / "run.json").read_bytes())
    assert main(["export", str(tmp_path), "--to", "pt2"]) == 2
    assert capsys.readouterr().err == f"portbev: {tmp_path}: the run has no checkpoint yet\n"
