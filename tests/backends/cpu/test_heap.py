"""Freed memory of the host is kept for the next step, as much of it as the configuration asks for."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from portbev.config import ComputeSection
from portbev_cpu.backend import CpuBackend
from portbev_cpu.heap import keep_freed_memory

PROGRAM = """
import torch
from portbev.config import ComputeSection
from portbev_cpu.backend import CpuBackend

def resident():
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * 4096 // 2**20

torch.ones(2)
for _ in range(2):
    assert CpuBackend().prepare_host(ComputeSection(keep_freed_memory={kept})) == []
before = resident()
x = [torch.ones({mib}, 2**18) for _ in range({count})]
del x
print(resident() - before)
"""
GLIBC = platform.libc_ver()[0] == "glibc" and sys.platform == "linux"


def left_over(kept: bool | None, *, mib: int, count: int = 1) -> int:
    """MiB that stay with the process after ``count`` tensors of ``mib`` MiB are freed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", PROGRAM.format(kept=kept, mib=mib, count=count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.skipif(not GLIBC, reason="glibc's mallopt")
def test_freed_memory_is_kept_for_the_next_step_as_asked_for() -> None:
    assert left_over(kept=False, mib=16, count=16) < 128
    assert left_over(kept=None, mib=16, count=16) > 200
    assert left_over(kept=None, mib=256) < 128
    assert left_over(kept=True, mib=256) > 200


@pytest.mark.parametrize("name", ["MALLOC_MMAP_MAX_", "GLIBC_TUNABLES"])
def test_a_users_own_setting_is_left_alone_and_said(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    assert keep_freed_memory(everything=False) == f"as {name} says"
    asked = ComputeSection(keep_freed_memory=True)
    assert CpuBackend().prepare_host(asked) == [f"compute.keep_freed_memory: the heap stays as {name} says"]
    assert CpuBackend().prepare_host(ComputeSection()) == []
