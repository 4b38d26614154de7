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


def test_by_default_the_vendors_kernels_serve_and_the_run_says_whose_bits_may_vary(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    how = ["--backend", "npu", "--emulate", "--set", "train.max_steps=1"]
    runs = {}
    for setting in ("preferred", "required"):
        out = tmp_path / setting
        done = command("train", "bevdepth/tiny_test", *how, "--set", f"compute.deterministic={setting}", "--out", out)
        assert done.returncode == 0, done.stderr
        runs[setting] = load_run(out).record, done.stdout
    record, said = runs["preferred"]
    assert record.deterministic == "preferred"
    # mx_driving takes input channels of deformable convolution by the 64 only, and this model is smaller
    for operator, provider in {"deform_conv2d": "torch_npu", "voxel_pool_lift": "mx_driving"}.items():
        page = record.kernels[operator]
        assert list(page.forward) == list(page.backward) == page.not_deterministic == [provider]
    assert record.bits == "vary: deform_conv2d by torch_npu, voxel_pool_lift by mx_driving"
    (line,) = [note for note in record.notes if note.startswith("compute.deterministic is preferred")]
    assert "voxel_pool_lift by mx_driving (required: reference)" in line
    assert said.count(f"note: {line}") == 1
    record, said = runs["required"]
    assert record.bits == "reproducible"
    assert list(record.kernels["voxel_pool_lift"].forward) == ["reference"]
    assert "bit-reproducible" not in said
