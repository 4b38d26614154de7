"""Looking for an AMD GPU where there is none: each stage's error and cure."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from portbev_rocm import probe as rocm


def test_a_cuda_build_is_not_rocm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.version, "hip", None)
    assert "is built for CUDA 13.0" in rocm.probe().reason


@pytest.mark.skipif(sys.platform == "win32", reason="ROCm's device node is Linux's")
def test_rocm_stages_stop_at_the_missing_driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(rocm, "KFD", tmp_path / "kfd")
    state = rocm.probe()
    assert [stage.ok for stage in state.stages] == [True, False]
    assert "/dev/kfd" in state.cure


def test_rocm_kernels_are_matched_without_feature_flags(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    kfd = tmp_path / "kfd"
    kfd.touch()
    monkeypatch.setattr(torch.version, "hip", "6.4")
    monkeypatch.setattr(rocm, "KFD", kfd)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "MI300X")
    facts = type("Facts", (), {"gcnArchName": "gfx942:sramecc+:xnack-"})
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: facts)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["gfx90a", "gfx942"])
    assert rocm.probe().available
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["gfx90a"])
    assert rocm.probe().reason == "kernels for the device: the GPU is gfx942; this torch has gfx90a"
