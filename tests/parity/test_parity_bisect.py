"""``parity bisect``: planted faults are named with their kind, by module and operator; what is clean is not accused."""

from __future__ import annotations

import fnmatch
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from faults import FAULTS, planted

from portbev.parity.bisect.files import from_files
from portbev.parity.dumps.reading import Dump, load_dump
from portbev.recording.bisect import bisect
from portbev.recording.dump import Plan, dump
from portbev.recording.step import read_source

Dumped = Callable[..., Dump]
ONE_PROCESS = [name for name, fault in FAULTS.items() if fault.ranks == 1]


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Dumped:
    """Dumps of the CPU, each made once."""
    made: dict[Any, Dump] = {}

    def make(config: str, *settings: str) -> Dump:
        key = (config, settings)
        if key not in made:
            out = tmp_path_factory.mktemp("clean") / "a"
            made[key] = load_dump(dump(read_source(config, list(settings)), out, backend="cpu"))
        return made[key]

    return make


@pytest.mark.parametrize("name", ONE_PROCESS)
def test_a_planted_fault_is_named_with_its_kind(name: str, clean: Dumped, tmp_path: Path) -> None:
    fault = FAULTS[name]
    a = clean(fault.config, *fault.settings)
    with planted(fault):
        source = read_source(fault.config, list(fault.settings))
        b = load_dump(dump(source, tmp_path / "b", Plan(bands=False), backend="faulty"))
        by_files = from_files(a, b).verdict
        verdict = bisect(a, b, backend="faulty" if fault.live else None, source=source)
    assert verdict.kind == fault.kind, verdict
    assert fnmatch.fnmatchcase(verdict.module, fault.where), verdict
    assert len(verdict.evidence) >= 2
    assert verdict.module == by_files.module and verdict.stage == by_files.stage
    if fault.operator and fault.kind == "kernel":
        assert (verdict.operator, verdict.provider) == (f"portbev.{fault.operator}", "planted")
        right = {p.name for p in verdict.providers if p.ratio is not None and p.ratio < 4}
        assert right == {"reference"}, "the other provider is right, and said to be"
    if fault.live and fault.kind in ("kernel", "reduced precision", "stale state"):
        assert verdict.side == "b"


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Dumps of two processes: clean, and with the faults that take two to show."""
    folder = tmp_path_factory.mktemp("two")
    names = [name for name, fault in FAULTS.items() if fault.ranks == 2]
    script = Path(__file__).with_name("two_ranks.py")
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    words += ["--rdzv-endpoint", "localhost:0", str(script), str(folder), *names]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.ranks == 2])
def test_a_fault_between_processes_is_named_with_its_kind(name: str, of_two_processes: Path) -> None:
    verdict = bisect(load_dump(of_two_processes / "clean"), load_dump(of_two_processes / name), backend=None)
    assert (verdict.kind, fnmatch.fnmatchcase(verdict.module, FAULTS[name].where)) == (FAULTS[name].kind, True), verdict
    assert len(verdict.evidence) >= 2
    if name == "summed_gradients":
        assert verdict.side == "b" and "1 in a, 2 in b" in verdict.evidence[1]
    else:
        assert verdict.rank == 1 and "of process 0: its batch is repeated" in verdict.evidence[1]


@contextmanager
def without_onednn() -> Iterator[None]:
    with torch.backends.mkldnn.flags(enabled=False):
        yield


BEVFORMER, BEVDEPTH, ECHOFUSION = "bevformer/tiny_test", "bevdepth/tiny_test", "echofusion/tiny_test"
FORMAT = "compute.memory_format=channels_last"
CLEAN: dict[str, tuple[str, list[str], Callable[[], Any]]] = {
    "the same again": (BEVFORMER, [], nullcontext),
    "two threads": (BEVFORMER, ["compute.threads=2"], nullcontext),
    "three threads": (BEVFORMER, ["compute.threads=3"], nullcontext),
    "without oneDNN": (BEVFORMER, [], without_onednn),
    "channels-last": (BEVFORMER, [FORMAT], nullcontext),
    "channels-last, without oneDNN": (BEVFORMER, [FORMAT], without_onednn),
    "channels-last, two threads": (BEVFORMER, [FORMAT, "compute.threads=2"], nullcontext),
    "deform_attn by the reference": (BEVFORMER, ["compute.kernels.deform_attn=reference"], nullcontext),
    "dropout by the reference": (BEVFORMER, ["compute.kernels.dropout=reference"], nullcontext),
    "all by the reference": (BEVFORMER, ["compute.kernels.all=reference"], nullcontext),
    "oneDNN's products": (BEVFORMER, ["compute.linear=onednn"], nullcontext),
    "a fused update": (BEVFORMER, ["compute.fused_optimizer=true"], nullcontext),
    "all of it": (BEVFORMER, [FORMAT, "compute.linear=onednn", "compute.kernels.all=reference"], nullcontext),
    "bevdepth, two threads": (BEVDEPTH, ["compute.threads=2"], nullcontext),
    "bevdepth, without oneDNN": (BEVDEPTH, [], without_onednn),
    "bevdepth, channels-last": (BEVDEPTH, [FORMAT], nullcontext),
    "bevdepth, channels-last, AVX2's gradients": (BEVDEPTH, [FORMAT, "compute.weight_gradients=avx2"], nullcontext),
    "echofusion, without oneDNN": (ECHOFUSION, [], without_onednn),
    "echofusion, channels-last, by the reference": (
        ECHOFUSION,
        [FORMAT, "compute.kernels.all=reference", "compute.linear=onednn"],
        nullcontext,
    ),
}


SAME = ("the same again", "dropout by the reference")
"""Pairs of equal bits; the others differ in the last ones."""


@pytest.mark.parametrize("how", CLEAN)
def test_a_clean_pair_is_not_accused(how: str, clean: Dumped, tmp_path: Path) -> None:
    config, settings, context = CLEAN[how]
    a = clean(config)
    try:
        with context():
            b = load_dump(dump(read_source(config, settings), tmp_path / "b", Plan(bands=False), backend="cpu"))
    finally:
        torch.set_num_threads(1)
    verdict = bisect(a, b, backend=None)
    assert verdict.kind == "none", verdict.evidence
    hashes = [[one.sketch and one.sketch.hash for one in dumped.ranks[0].records] for dumped in (a, b)]
    assert hashes[0] == hashes[1] or how not in SAME


def test_the_emulated_npu_is_not_accused(clean: Dumped, tmp_path: Path) -> None:
    words = [
        sys.executable,
        "-m",
        "portbev",
        "parity",
        "dump",
        BEVFORMER,
        "--backend",
        "npu",
        "--emulate",
        "--no-bands",
    ]
    done = subprocess.run([*words, "--out", str(tmp_path / "npu")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    npu = load_dump(tmp_path / "npu")
    assert npu.header.run.backend.emulated
    assert bisect(clean(BEVFORMER), npu, backend=None).kind == "none"
