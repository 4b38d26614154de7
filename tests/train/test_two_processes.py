"""Two processes by torchrun: DDP over gloo and over the emulated npu's hccl."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from portbev.runs import Run, load_run
from portbev_nuscenes.synth import SynthOptions, generate
from portbev_radial.synth import RadialSynthOptions
from portbev_radial.synth import generate as generate_radial

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("every_configuration.py")
CONFIGS = Path(__file__).parents[2] / "configs"
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def launch(toy_environment: dict[str, str]) -> Launch:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"]
        words += ["--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0", "-m", "portbev", *map(str, arguments)]
        return subprocess.run(words, env=toy_environment, capture_output=True, text=True, timeout=280, check=False)

    return run


def trained(launch: Launch, config: Path, root: Path, out: Path, *how: str) -> Run:
    done = launch("train", config, *how, "--data-root", root, "--out", out)
    assert done.returncode == 0, done.stderr
    return load_run(out)


def final_weights(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.checkpoints.path(run.checkpoints.steps()[-1]) / "model.safetensors")


def test_two_processes_learn_like_one_with_the_whole_batch_and_evaluate_alike(
    launch: Launch, command: Any, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    common = {"model__batchnorm": False, "model__dropout": 0.3, "optimizer__name": "sgd", "train__epochs": 1}
    one_config = toy_file(train__batch_size=4, **common)
    done = command("train", one_config, "--backend", "cpu", "--data-root", tiny_root, "--out", tmp_path / "one")
    assert done.returncode == 0, done.stderr
    one = load_run(tmp_path / "one")
    two = trained(launch, toy_file(train__batch_size=2, **common), tiny_root, tmp_path / "two", "--backend", "cpu")
    assert two.record.backend.world_size == 2 and two.record.backend.collective == "gloo"
    assert [r.samples for r in two.scalars()] == [r.samples for r in one.scalars()]
    for a, b in zip(two.scalars(), one.scalars(), strict=True):
        assert a.losses == pytest.approx(b.losses, rel=1e-5)
    for key, value in final_weights(one).items():
        torch.testing.assert_close(final_weights(two)[key], value, rtol=1e-4, atol=1e-6)

    # the same checkpoint, by one process and by two: equal files
    metrics = {}
    for name, start in {"alone": command, "shared": launch}.items():
        done = start("eval", two.path, "--backend", "cpu", "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        metrics[name] = json.loads((tmp_path / name / "metrics.json").read_text())
        metrics[name].pop("inference")
    assert metrics["alone"] == metrics["shared"]
    alone, shared = ((tmp_path / name / "predictions.json").read_bytes() for name in metrics)
    assert alone == shared == two.predictions.read_bytes()


def test_synchronised_batchnorm_makes_two_processes_equal_one(
    launch: Launch, command: Any, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    common = {"model__dropout": 0.3, "optimizer__name": "sgd", "train__epochs": 1, "train__sync_batchnorm": True}
    done = command(
        "train",
        toy_file(train__batch_size=4, **common),
        "--backend",
        "cpu",
        "--data-root",
        tiny_root,
        "--out",
        tmp_path / "1",
    )
    assert done.returncode == 0, done.stderr
    one = load_run(tmp_path / "1")
    two = trained(launch, toy_file(train__batch_size=2, **common), tiny_root, tmp_path / "2", "--backend", "cpu")
    assert any("1 batch normalisations are synchronised" in note for note in two.record.notes)
    assert one.record.notes == []
    for key, value in final_weights(one).items():
        torch.testing.assert_close(final_weights(two)[key], value, rtol=1e-4, atol=1e-5)


def test_the_emulated_npu_joins_over_hccl_with_the_bits_of_gloo(
    launch: Launch, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    config = toy_file(train__epochs=1)
    cpu = trained(launch, config, tiny_root, tmp_path / "cpu", "--backend", "cpu")
    npu = trained(launch, config, tiny_root, tmp_path / "npu", "--backend", "npu", "--emulate")
    assert npu.record.backend.collective == "hccl"
    assert [r.losses for r in npu.scalars()] == [r.losses for r in cpu.scalars()]


def test_every_shipped_configuration_steps_in_two_processes_and_so_does_a_process_with_nothing(
    tmp_path: Path, toy_environment: dict[str, str]
) -> None:
    """All parameters get gradients, the processes stay together, and nothing is warned of."""
    sizes = {"scenes": 3, "val_scenes": 1, "samples_per_scene": 3, "sweeps": 0, "lidar_beams": 8, "lidar_steps": 64}
    cameras = generate(tmp_path / "nuscenes", SynthOptions(image_size=(200, 112), **sizes))
    options = RadialSynthOptions(sequences=3, frames=2, samples=64, chirps=32, azimuths=31, image_size=(192, 108))
    radar = generate_radial(tmp_path / "radial", options, workers=1)
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    words += ["--rdzv-endpoint", "localhost:0", str(SCRIPT), str(cameras), str(radar), str(tmp_path / "out")]
    done = subprocess.run(words, env=toy_environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    stepped = {line.removesuffix(": step done") for line in done.stdout.splitlines()}
    shipped = {f"{path.parent.name}/{path.stem}" for path in CONFIGS.glob("*/*.yaml") if path.stem != "_base"}
    assert shipped and shipped <= stepped
    assert {f"{family}/boxes in one process" for family in ("bevdepth", "bevformer", "echofusion")} <= stepped
    assert sum("points (" in line for line in stepped) == 6
    assert "warn" not in done.stderr.lower(), done.stderr[-3000:]


def test_a_mistake_is_told_once_by_several_processes(
    launch: Launch, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    early = launch("train", toy_file(), "--set", "train.epoch=3", "--backend", "cpu", "--data-root", tiny_root)
    (tmp_path / "taken" / "checkpoints").mkdir(parents=True)
    taken = ["--backend", "cpu", "--data-root", tiny_root, "--out", tmp_path / "taken"]
    by_main = launch("train", toy_file(), *taken)
    late = launch("train", toy_file(train__batch_size=7), "--backend", "cpu", "--data-root", tiny_root,
                  "--out", tmp_path / "late")  # fmt: skip
    for done, text in ((early, "train.epoch"), (by_main, "holds a run already"), (late, "do not fill one global")):
        assert done.returncode != 0
        lines = [line for line in done.stderr.splitlines() if line.startswith("portbev: ")]
        assert len(lines) == 1 and text in lines[0], done.stderr


def test_a_parameter_without_a_gradient_is_named_or_allowed(
    launch: Launch, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    spare = {"model__spare": True, "train__max_steps": 2}
    refused = launch(
        "train", toy_file(**spare), "--backend", "cpu", "--data-root", tiny_root, "--out", tmp_path / "refused"
    )
    assert refused.returncode != 0
    assert "step 1: parameters without a gradient: spare.weight, spare.bias" in refused.stderr
    assert "train.find_unused_parameters=true" in refused.stderr
    allowed = toy_file(train__find_unused_parameters=True, **spare)
    run = trained(launch, allowed, tiny_root, tmp_path / "allowed", "--backend", "cpu")
    assert run.status == "finished" and len(run.scalars()) == 2


def test_resuming_with_another_number_of_processes_is_refused(
    launch: Launch, command: Any, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    config = toy_file(train__max_steps=1)
    trained(launch, config, tiny_root, tmp_path / "run", "--backend", "cpu")
    done = command(
        "train",
        config,
        "--backend",
        "cpu",
        "--data-root",
        tiny_root,
        "--out",
        tmp_path / "run",
        "--resume",
        "--set",
        "train.max_steps=3",
    )
    assert done.returncode == 2
    assert "world_size 2, not 1" in done.stderr


def test_a_killed_process_and_an_error_in_one_process_end_all_in_a_line_each_and_resume_to_the_same_bits(
    launch: Launch, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    common = {"train__epochs": 2, "train__checkpoint": {"every_steps": 1}}
    whole = trained(launch, toy_file(**common), tiny_root, tmp_path / "whole", "--backend", "cpu")
    out = tmp_path / "run"
    where = ["--backend", "cpu", "--data-root", tiny_root, "--out", out, "--resume"]
    started = time.monotonic()
    killed = launch("train", toy_file(model__killed_at_forward=2, **common), *where)
    erring = launch("train", toy_file(model__error_at_forward=3, **common), *where)
    assert time.monotonic() - started < 120
    lines = [[line for line in done.stderr.splitlines() if "portbev: " in line] for done in (killed, erring)]
    lost = "portbev: process 0: another process of this run ended or does not answer"
    assert killed.returncode != 0 and len(lines[0]) == 1 and lost in lines[0][0], killed.stderr
    assert "Continue with --resume" in lines[0][0]
    assert erring.returncode != 0 and len(lines[1]) <= 2, erring.stderr
    assert any("cannot be used" in line for line in lines[1]), erring.stderr
    assert all("cannot be used" in line or lost in line for line in lines[1])
    for done in (killed, erring):
        ours = re.findall(r"portbev/(?:cli|train|comm|data|runs)\S*\.py", done.stderr)
        assert not ours, done.stderr  # no traceback through our files; torchrun has one of its own
    resumed = trained(launch, toy_file(**common), tiny_root, out, "--backend", "cpu", "--resume")
    assert [taken.step for taken in resumed.record.resumed] == [2, 3]
    assert all(torch.equal(value, final_weights(whole)[key]) for key, value in final_weights(resumed).items())
    assert resumed.predictions.read_bytes() == whole.predictions.read_bytes()


HEARS = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
"""A job in the background of a shell has SIGINT ignored, and so have its children."""


def test_ctrl_c_under_torchrun_ends_with_how_to_go_on_below_torchruns_own_words(
    toy_environment: dict[str, str], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    config, out = toy_file(model__sleep=0.05, train__epochs=1000), tmp_path / "run"
    typed = ["train", str(config), "--backend", "cpu", "--data-root", str(tiny_root), "--out", str(out)]
    words = [sys.executable, "-c", HEARS, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words += ["-m", "portbev", *typed]
    with open(tmp_path / "terminal", "w+b") as terminal:
        process = subprocess.Popen(words, env=toy_environment, stdout=terminal, stderr=terminal, start_new_session=True)
        try:
            waited_for(lambda: (out / "scalars.jsonl").exists() and (out / "scalars.jsonl").stat().st_size > 0)
            os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to torchrun and to both
            process.wait(60)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    last = f"  torchrun --nproc-per-node 2 -m portbev {shlex.join(typed)} --resume"
    said = tmp_path / "terminal"
    waited_for(lambda: said.read_text().rstrip("\n").endswith(last), seconds=30)
    lines = said.read_text().splitlines()
    assert lines[-2:] == ["continue with:", last]
    assert load_run(out).status == "interrupted"


def waited_for(happened: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
