"""Two processes by torchrun: DDP over gloo and over the emulated npu's hccl."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from toy_settings import toy_settings

from portbev.runs import Run, load_run
from portbev.runs.checkpoints import Checkpoints
from portbev.train import train
from portbev_nuscenes.synth import SynthOptions, generate
from portbev_radial.synth import RadialSynthOptions
from portbev_radial.synth import generate as generate_radial

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).with_name("every_configuration.py")
CONFIGS = Path(__file__).parents[2] / "configs"
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]
Launch = Callable[..., "subprocess.CompletedProcess[str]"]


EVERY_STEP = {"train__epochs": 2, "train__checkpoint": {"every_steps": 1, "keep": 9}}


@pytest.fixture(scope="module")
def whole(toy_environment: dict[str, str], tiny_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of two processes that nobody disturbed, with a checkpoint after each step."""
    folder = tmp_path_factory.mktemp("two")
    config = folder / "toy.yaml"
    config.write_text(json.dumps(toy_settings(**EVERY_STEP)))
    words = [*TORCHRUN, "--nproc-per-node", "2", "-m", "portbev", "train", str(config), "--backend", "cpu"]
    done = started([*words, "--data-root", str(tiny_root), "--out", str(folder / "whole")], toy_environment)
    assert done.returncode == 0, done.stderr
    return load_run(folder / "whole")


def started(words: list[str], environment: dict[str, str], **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280, check=False, **how)


@pytest.fixture
def launch(toy_environment: dict[str, str]) -> Launch:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        words = [*TORCHRUN, "--nproc-per-node", "2", "-m", "portbev", *map(str, arguments)]
        return started(words, toy_environment)

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
    for done, text in ((early, "train.epoch"), (by_main, "holds a run already"), (late, "train.batch_size is 7")):
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


def test_a_killed_process_and_an_error_in_one_process_end_all_in_a_line_each_and_resume_to_the_same_bits(
    launch: Launch, toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path, whole: Run
) -> None:
    common, out = EVERY_STEP, tmp_path / "run"
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


def test_a_killed_process_is_started_again_by_torchrun_and_the_run_ends_with_the_undisturbed_bits(
    toy_environment: dict[str, str], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path, whole: Run
) -> None:
    config = toy_file(model__killed_at_forward=4, **EVERY_STEP)
    words = [*TORCHRUN, "--nproc-per-node", "2", "--max-restarts", "3", "-m", "portbev", "train", str(config)]
    words += ["--backend", "cpu", "--data-root", str(tiny_root), "--out", str(tmp_path / "run")]
    done = started(words, toy_environment)
    assert done.returncode == 0, done.stderr
    assert "torchrun starts all again (3 restarts left)" in done.stderr and "Traceback" not in done.stderr
    run = load_run(tmp_path / "run")
    assert [(taken.step, taken.by) for taken in run.record.resumed] == [(4, "torchrun, restart 1 of 3")]
    assert same_bits(run, whole)
    # another launch with the same words does not go on with a run that it did not begin
    again = started(words, toy_environment)
    assert again.returncode != 0 and "holds a run already" in again.stderr


def test_two_agents_on_disks_of_their_own_train_as_one_and_the_first_writes(
    toy_environment: dict[str, str], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path, whole: Run
) -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "1"]
    words += [
        "--rdzv-backend",
        "c10d",
        "--rdzv-endpoint",
        f"localhost:{port}",
        "--rdzv-id",
        "1",
        "--local-addr",
        "localhost",
    ]
    words += ["-m", "portbev", "train", str(toy_file(**EVERY_STEP)), "--backend", "cpu", "--data-root", str(tiny_root)]
    agents = []
    for name in ("a", "b"):  # each in a folder of its own: what is relative is on a disk of its own
        (tmp_path / name).mkdir()
        environment = {**toy_environment, "PORTBEV_CACHE": str(tmp_path / name / "cache")}
        agents.append(
            subprocess.Popen([*words, "--out", "run"], cwd=tmp_path / name, env=environment, text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        )  # fmt: skip
    said = [agent.communicate(timeout=280) for agent in agents]
    assert [agent.returncode for agent in agents] == [0, 0], said
    written = [path for path in (tmp_path / "a" / "run", tmp_path / "b" / "run") if path.exists()]
    assert len(written) == 1, "one process of all writes the run"
    run = load_run(written[0])
    assert run.record.backend.world_size == 2 and len(run.record.agents) == 2
    assert same_bits(run, whole)
    assert sum("step 6: mAP" in out for out, _ in said) == 1
    assert all((tmp_path / name / "cache").is_dir() for name in ("a", "b")), "each machine has its own index"


def test_tasks_of_slurm_train_as_one_and_tell_a_mistake_once(
    toy_environment: dict[str, str], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    config = toy_file(train__max_steps=1)

    def srun(*more: str) -> list[tuple[int, str]]:
        words = [
            sys.executable,
            "-m",
            "portbev",
            "train",
            str(config),
            "--backend",
            "cpu",
            "--data-root",
            str(tiny_root),
        ]
        common = {"SLURM_JOB_ID": str(os.getpid()), "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2",
                  "SLURM_STEP_NODELIST": "localhost", "SLURM_NODEID": "0", "SLURM_TASKS_PER_NODE": "2"}  # fmt: skip
        tasks = [
            subprocess.Popen(
                [*words, "--out", str(tmp_path / "run"), "--launcher", "slurm", *more],
                env={**toy_environment, **common, "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)},
                text=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
            for rank in (0, 1)
        ]
        return [
            (task.returncode, error) for task, (_, error) in [(task, task.communicate(timeout=280)) for task in tasks]
        ]

    assert [status for status, _ in srun()] == [0, 0]
    assert load_run(tmp_path / "run").record.backend.world_size == 2
    mistaken = srun("--set", "train.epoch=3")
    assert [status for status, _ in mistaken] == [2, 2]
    assert sum(error.count("portbev: ") for _, error in mistaken) == 1, mistaken


def test_a_run_of_two_goes_on_alone_with_the_bits_of_two_and_says_what_it_measured(
    toy_family: None, whole: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = cut_after(whole, 3, tmp_path / "run")
    run = train(whole.config, backend="cpu", data_root=whole.record.data.source, out=out, resume=True)
    assert same_bits(run, whole)
    assert [(a.losses, a.grad_norm, a.samples) for a in run.scalars()] == [
        (b.losses, b.grad_norm, b.samples) for b in whole.scalars()
    ]
    assert (run.record.backend.world_size, run.record.batch_parts, run.record.samples_per_step) == (1, 2, 4)
    (found,) = run.record.deviations
    assert (found.step, found.before, found.processes, found.steps, found.loss, found.grad_norm) == (3, 2, 1, 3, 0, 0)
    said = capsys.readouterr().out
    assert said.count("one process in place of 2: a batch of 4 is 2 parts of 2") == 1
    assert said.count("steps 4 to 6 by one process: losses and gradient norms have the bits of those by 2") == 1
    assert "4 samples: batch 2 x 2 parts" in said


def test_a_run_of_one_goes_on_with_two_on_the_same_samples_and_says_by_how_much_it_differs(
    toy_family: None, toy: Any, launch: Launch, tiny_root: Path, tmp_path: Path
) -> None:
    common = {**EVERY_STEP, "train__batch_size": 4, "model__batchnorm": False, "optimizer__name": "sgd"}
    one = train(toy(**common), backend="cpu", data_root=tiny_root, out=tmp_path / "one")
    out = cut_after(one, 3, tmp_path / "run")
    done = launch("train", "--resume", "--out", out)
    assert done.returncode == 0, done.stderr
    run = load_run(out)
    assert (run.record.backend.world_size, run.record.batch_parts, run.record.samples_per_step) == (2, 2, 4)
    assert any(
        "losses that a process normalises by itself, are of 2 samples, not 4" in note for note in run.record.notes
    )
    (found,) = run.record.deviations
    assert found.steps == 3 and found.loss < 1e-5 and found.grad_norm < 1e-5
    assert "steps 4 to 6 by 2 processes" in done.stdout
    for a, b in zip(run.scalars(), one.scalars(), strict=True):
        assert a.losses == pytest.approx(b.losses, rel=1e-5)


def same_bits(first: Run, second: Run) -> bool:
    """Whether two runs have the same weights, average and predictions."""
    return first.predictions.read_bytes() == second.predictions.read_bytes() and all(
        (first.checkpoints.path(6) / name).read_bytes() == (second.checkpoints.path(6) / name).read_bytes()
        for name in ("model.safetensors", "ema.safetensors")
    )


def cut_after(run: Run, step: int, out: Path) -> Path:
    """A copy of ``run`` in ``out`` as it would be if it had been killed later, with ``step`` its newest checkpoint."""
    shutil.copytree(run.path, out)
    for later in run.checkpoints.steps():
        if later > step:
            shutil.rmtree(Checkpoints(out / "checkpoints").path(later))
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "status": "running"}))
    return out
