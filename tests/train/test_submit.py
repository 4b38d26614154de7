"""``portbev submit``: what is asked of SLURM, what is refused at once, and what submitit's local queue does."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from portbev.cli import main
from portbev.errors import PortbevError
from portbev.runs import load_run
from portbev.submit.job import TrainJob
from portbev.submit.request import Request, minutes_of, options_of

submitit = pytest.importorskip("submitit", reason="the extra submit is not installed")
CONFIG = "bevdepth/tiny_test"


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("1:30", 2), ("2:00:00", 120), ("1-0", 1440), ("1-2:30", 1590), ("2-00:00:01", 2881), ("0:01", 1)],
)
def test_a_time_limit_is_read_as_slurm_writes_it(text: str, minutes: int) -> None:
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["", "0", "1h", "-5", "1-", "1:2:3:4", "0:0:0"])
def test_what_is_no_time_limit_is_refused(text: str) -> None:
    with pytest.raises(PortbevError, match="is no time limit"):
        minutes_of(text)


def test_a_dry_run_shows_the_whole_script_and_submits_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["submit", CONFIG, "--data-root", "data", "--set", "train.seed=3", "--nodes", "2", "--gpus", "4"]
    words += ["--time", "1-0", "--partition", "big", "--slurm", "qos=high", "--setup", "module load cuda", "--dry-run"]
    assert main(words) == 0
    said = capsys.readouterr().out
    for part in ("--nodes=2", "--gpus-per-node=4", "--ntasks-per-node=4", "--time=1440", "--partition=big",
                 "--qos=high", "--requeue", "--signal=USR2@120", "module load cuda", "8 processes on 2 machines",
                 f"-m portbev train {CONFIG} --data-root data --set train.seed=3 --launcher slurm",
                 "srun --unbuffered"):  # fmt: skip
        assert part in said, said
    assert not list(tmp_path.rglob("*.sh")) and not list(tmp_path.rglob("*.pkl"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([CONFIG, "--set", "train.epoch=3"], "train.epoch"),
        ([CONFIG, "--sett", "a=1"], "--sett"),
        (["bevdepth/tiny_tset"], "tiny_test"),
        (["--resume"], "no configuration"),
        ([CONFIG, "--launcher", "slurm"], "starts the processes itself"),
        ([CONFIG, "--time", "soon"], "is no time limit"),
        ([CONFIG, "--time", "1", "--signal-delay", "60"], "there is nothing to end"),
        ([CONFIG, "--cluster", "pbs"], "unknown queue 'pbs'"),
        ([CONFIG, "--cluster", "local", "--nodes", "2"], "this machine alone"),
        ([CONFIG, "--cluster", "local", "--partition", "big"], "options of sbatch"),
        ([CONFIG, "--slurm", "qos"], "Write KEY=VALUE"),
        ([], "portbev submit --help"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_queued(
    words: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["submit", *words, "--dry-run"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and message in lines[0]


def test_without_slurm_it_says_what_can_be_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["submit", CONFIG]) == 2
    said = capsys.readouterr().err
    assert "there is no SLURM on this machine" in said and "--cluster local" in said and said.count("\n") == 1


def test_options_of_sbatch_may_have_their_dashes() -> None:
    assert options_of(["--gres=gpu:a100:4", "comment=a=b"]) == {"gres": "gpu:a100:4", "comment": "a=b"}


@pytest.mark.parametrize(
    ("resume", "environment", "expected"),
    [
        (False, {"SUBMITIT_EXECUTOR": "slurm"}, ["--launcher", "slurm"]),
        (False, {"SUBMITIT_EXECUTOR": "slurm", "SLURM_RESTART_COUNT": "1"}, ["--launcher", "slurm", "--resume"]),
        (True, {"SUBMITIT_EXECUTOR": "slurm"}, ["--launcher", "slurm", "--resume"]),
        (True, {"SUBMITIT_EXECUTOR": "local"}, ["--launcher", "none", "--resume"]),
    ],
)
def test_a_task_goes_on_after_it_was_queued_again(
    resume: bool, environment: dict[str, str], expected: list[str]
) -> None:
    command, _ = TrainJob(["c"], 1, resume=resume).command(environment)
    assert command == [sys.executable, "-m", "portbev", "train", "c", *expected]


def test_slurms_own_time_limit_and_requeueing_are_asked_for(tmp_path: Path) -> None:
    request = Request(["c"], "n", tmp_path, extra={"qos": "high"}, signal_delay=60)
    assert request.slurm == {"signal_delay_s": 60, "additional_parameters": {"requeue": True, "qos": "high"}}


@pytest.mark.slow
def test_a_job_that_must_make_room_writes_a_checkpoint_and_goes_on_to_the_end(
    toy_environment: dict[str, str], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    """By submitit's local queue, with two processes; the signal is the one that SLURM sends."""
    import psutil

    config = toy_file(train__epochs=4, model__sleep=0.2)
    words = [sys.executable, "-m", "portbev", "submit", str(config), "--backend", "cpu", "--data-root", str(tiny_root)]
    words += ["--out", str(tmp_path / "run"), "--logs", str(tmp_path / "jobs"), "--cluster", "local"]
    words += ["--processes", "2", "--time", "10", "--wait"]
    waiting = subprocess.Popen(words, env=toy_environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    scalars = tmp_path / "run" / "scalars.jsonl"
    while waiting.poll() is None and not (scalars.is_file() and scalars.read_text().count("\n") >= 2):
        time.sleep(0.05)
    for process in psutil.Process(waiting.pid).children(recursive=True):
        if "submitit.core._submit" in process.cmdline():
            process.send_signal(signal.SIGUSR2)
    out, error = waiting.communicate(timeout=280)
    assert waiting.returncode == 0, f"{out}\n{error}\n{logs_of(tmp_path / 'jobs')}"
    assert "is submitted" in out and out.rstrip().endswith(": finished")
    run = load_run(tmp_path / "run")
    assert run.status == "finished" and run.record.backend.world_size == 2
    (resumed,) = run.record.resumed
    assert resumed.after == "interrupted" and 2 <= resumed.step < 12


def logs_of(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.err")))


def test_an_error_of_the_training_is_the_jobs(toy_environment: dict[str, str], tiny_root: Path, tmp_path: Path) -> None:
    job: Any = TrainJob(["no/such_config", "--out", str(tmp_path / "run")], 1)
    with pytest.raises(SystemExit) as ended:
        job()
    assert ended.value.code == 2
