"""What the backends cuda and rocm share, on a machine without either."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from portbev.config import ComputeSection
from portbev_cuda import backend as cuda
from portbev_rocm import backend as rocm
from portbev_torch_cuda.backend import GpuBackend

BACKENDS = [cuda.CudaBackend(), rocm.RocmBackend()]
MATMUL = torch.backends.cuda.matmul


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put torch's settings and the environment back."""
    for name in (cuda.WORKSPACE, rocm.TF32):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    yield
    BACKENDS[0].activate("highest", "off")
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.benchmark = benchmark


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> None:
    """One GPU, as torch describes it."""
    facts = {"name": "GPU", "total_memory": 2**30, "multi_processor_count": 7, "gcnArchName": "gfx942:xnack-"}
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: SimpleNamespace(**facts))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda index: (9, 0))
    monkeypatch.setattr(cuda, "Driver", lambda: SimpleNamespace(version="13.0"))


def settings() -> tuple[object, ...]:
    return (
        torch.get_float32_matmul_precision(),
        torch.backends.cudnn.allow_tf32,
        MATMUL.allow_fp16_reduced_precision_reduction,
        MATMUL.allow_bf16_reduced_precision_reduction,
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        torch.backends.cudnn.benchmark,
    )


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_a_second_activation_undoes_the_first(backend: GpuBackend) -> None:
    backend.activate("fast", deterministic="off")
    assert settings() == ("high", True, True, True, False, False, True)
    backend.activate("highest", deterministic="required")
    assert settings() == ("highest", False, False, False, True, True, False)
    assert not torch.is_deterministic_algorithms_warn_only_enabled()
    backend.activate("highest", deterministic="preferred")
    assert settings() == ("highest", False, False, False, True, True, False)
    assert torch.is_deterministic_algorithms_warn_only_enabled()


def test_each_vendor_sets_its_own_variable() -> None:
    cuda.CudaBackend().activate(deterministic="required")
    assert (os.environ.get(cuda.WORKSPACE), rocm.TF32 in os.environ) == (":4096:8", False)
    for precision, value in (("fast", "1"), ("highest", "0")):
        rocm.RocmBackend().activate(precision)  # type: ignore[arg-type]
        assert os.environ[rocm.TF32] == value


def test_a_users_own_workspace_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cuda.WORKSPACE, ":16:8")
    cuda.CudaBackend().activate(deterministic="required")
    assert os.environ[cuda.WORKSPACE] == ":16:8"


@pytest.mark.usefixtures("device")
@pytest.mark.parametrize(
    ("backend", "versions", "architecture"),
    [
        (BACKENDS[0], {"cuda", "driver_supports_cuda", "cudnn", "nccl", "triton"}, {"capability": "9.0"}),
        (BACKENDS[1], {"hip", "amdgpu", "miopen", "rccl", "triton", "cupy"}, {"architecture": "gfx942"}),
    ],
    ids=["cuda", "rocm"],
)
def test_the_record_has_versions_devices_and_settings(
    backend: GpuBackend, versions: set[str], architecture: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(backend.visible_devices, "0")
    facts = json.loads(json.dumps(backend.environment()))
    assert versions | {"torch", "devices", "allow_tf32", "variables", "warnings"} <= set(facts)
    assert facts["devices"] == [{"name": "GPU", **architecture, "memory": 2**30, "multiprocessors": 7}]
    assert facts["variables"][backend.visible_devices] == "0"


@pytest.mark.parametrize("backend", BACKENDS, ids=lambda backend: backend.name)
def test_settings_of_the_cpu_alone_are_told(backend: GpuBackend) -> None:
    asked = ComputeSection(keep_freed_memory=True, weight_gradients="avx2", linear="onednn")
    assert backend.prepare_host(asked) == ["compute.keep_freed_memory is for the cpu backend; the heap stays as it was"]
    assert backend.prepare_model(torch.nn.Conv2d(3, 2, 3), asked) == [
        "compute.weight_gradients: avx2 is for the cpu backend; torch's own weight gradients are used",
        "compute.linear: onednn is for the cpu backend; torch's own products are used",
    ]
