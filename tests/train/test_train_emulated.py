"""The emulated npu trains to the same bits as the CPU. In processes of their own: the device must come first."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from portbev.runs import load_run


def test_losses_on_the_emulated_npu_equal_the_cpus_to_the_bit(
    command: Callable[..., Any], toy_file: Callable[..., Path], tiny_root: Path, tmp_path: Path
) -> None:
    config = toy_file()
    for name, how in {"cpu": ["--backend", "cpu"], "npu": ["--backend", "npu", "--emulate"]}.items():
        done = command("train", config, *how, "--data-root", tiny_root, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
    cpu, npu = load_run(tmp_path / "cpu"), load_run(tmp_path / "npu")
    assert npu.record.backend.emulated and npu.record.backend.label == "npu (emulated)"
    assert [row.losses for row in cpu.scalars()] == [row.losses for row in npu.scalars()]
    assert [row.grad_norm for row in cpu.scalars()] == [row.grad_norm for row in npu.scalars()]
    assert cpu.predictions.read_bytes() == npu.predictions.read_bytes()
