"""EchoFusion learns, and the commands run it from raw samples and take official checkpoints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from echofusion_cases import build, make_batch, total_loss

from portbev.config import load_config
from portbev_echofusion.checkpoint import export_state
from portbev_echofusion.family import EchoFusionFamily

CONFIG = Path(__file__).parents[3] / "configs" / "echofusion" / "tiny_test.yaml"


def portbev(*arguments: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    words = [sys.executable, "-m", "portbev", *map(str, arguments)]
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=240, check=False)


def test_the_loss_falls_on_samples_seen_again() -> None:
    model, batch = build(radar={"log": True}).train(), make_batch(2)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    losses = []
    for _ in range(25):
        loss = total_loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]


@pytest.mark.slow
def test_training_from_raw_samples_starts_from_an_official_checkpoint_and_is_scored(tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = EchoFusionFamily().build(load_config(CONFIG).model)
    official = tmp_path / "official.pth"
    torch.save({"meta": {"epoch": 24}, **export_state(model)}, official)
    run = tmp_path / "run"
    done = portbev("train", CONFIG, "--out", run, "--backend", "cpu", "--init", official, "--set", "train.max_steps=2")
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert {"loss_cls", "loss_bbox", "d0.loss_cls", "d0.loss_bbox"} <= set(lines[0]["losses"])
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["benchmark"] == "radial" and metrics["samples"] == 2
    settings = ("--set", "data.radar=rd", "--set", "data.signal_on=loader")
    wrong = portbev("train", CONFIG, "--out", tmp_path / "other", "--backend", "cpu", *settings)
    assert wrong.returncode == 2
    assert "(data.radar=rd, model.radar.input=rt)" in wrong.stderr
