"""Errors of the machine as one line with a cure."""

from __future__ import annotations

import errno

import pytest
import torch

from portbev.cli import main
from portbev.errors import PortbevError
from portbev.failures import LostPeerError, explained, in_one_line


@pytest.mark.parametrize(
    ("error", "what", "cure"),
    [
        (
            RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "),
            "a process that loads data was killed, most likely for want of memory "
            "(DataLoader worker (pid 7) is killed by signal: Killed)",
            "Lower data.workers",
        ),
        (RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"), "exited unexpectedly", "Lower data.workers"),
        (
            RuntimeError(
                "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that dataloader's "
                "workers are out of shared memory."
            ),
            "too little shared memory",
            "Lower data.workers",
        ),
        (
            torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total of ..."),
            "the device has too little memory: CUDA out of memory",
            "Lower train.batch_size",
        ),
        (RuntimeError("NPU out of memory. Tried"), "the device has too little memory", "compute.amp=bf16"),
        (
            RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
            "the machine has too little memory",
            "Lower data.workers or train.batch_size",
        ),
        (MemoryError(), "the machine has too little memory: MemoryError", "Lower data.workers"),
        (OSError(errno.ENOSPC, "No space left on device", "/runs/a"), "cannot write: No space left", "--out"),
    ],
)
def test_what_a_person_can_do_something_about_is_told(error: Exception, what: str, cure: str) -> None:
    said = explained(error)
    assert said is not None and what in str(said) and cure in said.cure and "\n" not in str(said)
    with pytest.raises(PortbevError) as caught, in_one_line():
        raise error
    assert caught.value.__cause__ is error


def test_a_process_that_is_gone_is_told_where_there_are_several(monkeypatch: pytest.MonkeyPatch) -> None:
    error = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:525] Connection closed by peer [::1]:4242")
    assert explained(error) is None  # alone there is no other process
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 1)
    said = explained(error)
    assert isinstance(said, LostPeerError)
    assert str(said).startswith("process 1: another process of this run ended or does not answer (Connection closed by")


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("x"), FileNotFoundError(2, "none")])
def test_mistakes_in_the_program_stay_what_they_are(error: Exception) -> None:
    assert explained(error) is None
    with pytest.raises(type(error)), in_one_line():
        raise error


def test_the_command_line_tells_such_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*args: object, **options: object) -> int:
        raise torch.OutOfMemoryError("out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr("portbev.cli._run", full)
    assert main(["backends"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("portbev: the device has too little memory: out of memory. Lower")
