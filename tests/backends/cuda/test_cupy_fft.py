"""The CuPy provider of ``fft`` where there is no CuPy: what its probe says, and what it would hand over."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch

from portbev.kernels import KERNELS
from portbev.ops.fft import FftCall
from portbev.plugins import plugins
from portbev_cuda import cupy_fft


def stand_in(*, is_hip: bool = False, count: Any = lambda: 1) -> ModuleType:
    """A module cupy that computes with torch."""
    module = ModuleType("cupy")

    def transform(name: str) -> Any:
        return lambda values, norm: getattr(torch.fft, name)(values, norm=norm)

    vars(module).update(
        cuda=SimpleNamespace(
            runtime=SimpleNamespace(is_hip=is_hip, getDeviceCount=count),
            Device=lambda index: nullcontext(),
            ExternalStream=lambda stream: nullcontext(),
        ),
        from_dlpack=torch.from_dlpack,
        fft=SimpleNamespace(fft=transform("fft"), ifft=transform("ifft")),
        ascontiguousarray=lambda values: values.contiguous(),
    )
    return module


def broken() -> int:
    raise RuntimeError("cudaErrorInsufficientDriver")


@pytest.mark.parametrize(
    ("module", "says"),
    [
        (None, "import cupy failed"),
        (stand_in(is_hip=torch.version.hip is None), "is built for"),
        (stand_in(is_hip=torch.version.hip is not None, count=broken), "cudaErrorInsufficientDriver"),
        (stand_in(is_hip=torch.version.hip is not None, count=lambda: 0), "sees no GPU"),
    ],
)
def test_the_probe_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, module: Any, says: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", module)
    assert says in str(cupy_fft.probe())


def test_a_missing_package_is_named_with_the_wheel_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(cupy_fft.importlib.util, "find_spec", lambda name: None)
    assert str(cupy_fft.probe()).startswith("cupy is not installed: pip install cupy-")


def test_a_fitting_cupy_with_a_gpu_is_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", stand_in(is_hip=torch.version.hip is not None))
    assert cupy_fft.probe() is None


def test_cuda_and_rocm_ask_the_reference_first_and_cupy_when_told() -> None:
    offered = [kernel for kernel in plugins().kernels() if kernel.operator != "fft"]
    usable = cupy_fft.Kernel(**{**vars(cupy_fft.KERNEL), "probe": lambda: None})
    for backend in ("cuda", "rocm"):
        ranked = KERNELS.rank(backend, [*offered, usable])["fft"]
        assert [kernel.provider for kernel in ranked.kernels] == ["reference", "cupy"]
        chosen = KERNELS.rank(backend, [*offered, usable], choice={"fft": "cupy"})["fft"]
        assert [kernel.provider for kernel in chosen.kernels] == ["cupy"]
    assert cupy_fft.KERNEL in plugins().kernels()


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("norm", ["backward", "ortho", "forward"])
def test_arguments_arrive_in_cupys_order(monkeypatch: pytest.MonkeyPatch, inverse: bool, norm: str) -> None:
    monkeypatch.setitem(sys.modules, "cupy", stand_in())
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=0))
    x = torch.randn(3, 2, 8, dtype=torch.complex128).conj()  # conjugated lazily, which DLPack refuses
    expected = (torch.fft.ifft if inverse else torch.fft.fft)(x, norm=norm)
    found = cupy_fft.forward(FftCall(x, inverse, norm))
    torch.testing.assert_close(found, expected)
    assert found.is_contiguous()
