"""How processes are started, read from the environment."""

from __future__ import annotations

import re

import pytest

from portbev.cli import main
from portbev.errors import BackendError
from portbev.launcher import Launch, launch


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS",
                 "SLURM_NPROCS", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK"):  # fmt: skip
        monkeypatch.delenv(name, raising=False)


def given(monkeypatch: pytest.MonkeyPatch, variables: str) -> None:
    for item in variables.split():
        name, _, value = item.partition("=")
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ("", Launch(0, 1, 0)),
        ("RANK=3 WORLD_SIZE=8 LOCAL_RANK=1", Launch(3, 8, 1)),
        ("RANK=0 WORLD_SIZE=1", Launch(0, 1, 0)),
        ("WORLD_SIZE=1", Launch(0, 1, 0)),
        ("SLURM_NTASKS=1 SLURM_PROCID=0", Launch(0, 1, 0)),
        ("SLURM_NTASKS=4", Launch(0, 1, 0)),  # an allocation, not a task of it
        ("SLURM_NTASKS=4 SLURM_STEP_NUM_TASKS=1 SLURM_PROCID=0", Launch(0, 1, 0)),
        ("SLURM_NTASKS=4 SLURM_PROCID=2 RANK=1 WORLD_SIZE=2 LOCAL_RANK=1", Launch(1, 2, 1)),  # torchrun in a task
        ("OMPI_COMM_WORLD_SIZE=1 OMPI_COMM_WORLD_RANK=0", Launch(0, 1, 0)),
    ],
)
def test_one_process_and_torchruns_are_known(monkeypatch: pytest.MonkeyPatch, variables: str, expected: Launch) -> None:
    given(monkeypatch, variables)
    assert launch() == expected


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ("SLURM_NTASKS=4 SLURM_PROCID=2", "SLURM started 4 tasks that do not know each other (this is 2)"),
        ("SLURM_NPROCS=2 SLURM_PROCID=0", "SLURM started 2 tasks"),
        ("OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_RANK=1", "Open MPI started 2 tasks"),
        ("PMI_SIZE=3 PMI_RANK=0", "MPI started 3 tasks"),
        ("RANK=1", "RANK is set and WORLD_SIZE is not"),
        ("WORLD_SIZE=2", "WORLD_SIZE is 2 and RANK is not set"),
        ("RANK=2 WORLD_SIZE=2", "RANK is 2 and WORLD_SIZE 2: ranks are 0 to WORLD_SIZE - 1"),
        ("RANK=0 WORLD_SIZE=0", "RANK is 0 and WORLD_SIZE 0"),
        ("RANK=zero WORLD_SIZE=2", "RANK is 'zero', not a number"),
        ("RANK=-1 WORLD_SIZE=2", "RANK is '-1', not a number"),
        ("RANK=0 WORLD_SIZE=two", "WORLD_SIZE is 'two', not a number"),
        ("RANK=0 WORLD_SIZE=2 LOCAL_RANK=x", "LOCAL_RANK is 'x', not a number"),
    ],
)
def test_what_would_train_several_times_into_one_directory_is_refused_with_the_torchrun_line(
    monkeypatch: pytest.MonkeyPatch, variables: str, message: str
) -> None:
    given(monkeypatch, variables)
    with pytest.raises(BackendError, match=re.escape(message)) as caught:
        launch()
    assert "torchrun --nproc-per-node" in str(caught.value) and "\n" not in str(caught.value)


def test_training_says_it_in_one_line_before_anything_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given(monkeypatch, "SLURM_NTASKS=2 SLURM_PROCID=1")
    assert main(["train", "bevdepth/tiny_test", "--backend", "cpu"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "torchrun --nproc-per-node 2 -m portbev" in lines[0]
