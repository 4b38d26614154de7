"""Looking for an NVIDIA GPU where there is none: each stage's error and cure."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
import torch

from portbev_cuda import driver as cuda_driver
from portbev_cuda import probe as cuda
from portbev_cuda.driver import Gpu


class FakeDriver:
    version = "13.0"
    found: tuple[Gpu, ...] = (Gpu("H200", (9, 0)),)

    def gpus(self) -> list[Gpu]:
        return list(self.found)


@pytest.fixture
def cuda_machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """A machine where every stage of the cuda backend passes."""
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.version, "hip", None)
    monkeypatch.setattr(cuda, "Driver", FakeDriver)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_arch_list", lambda: ["sm_80", "sm_90", "compute_90"])
    return monkeypatch


def test_all_stages_of_cuda_pass_where_everything_is_there(cuda_machine: pytest.MonkeyPatch) -> None:
    state = cuda.probe()
    assert state.available, state.reason
    assert [stage.name for stage in state.stages] == [
        "torch built for CUDA",
        "driver",
        "device",
        "CUDA runtime",
        "kernels for the device",
    ]


def test_a_rocm_build_is_not_cuda_and_says_where_to_go(cuda_machine: pytest.MonkeyPatch) -> None:
    cuda_machine.setattr(torch.version, "hip", "6.4")
    assert "use the backend rocm" in cuda.probe().reason


def test_no_driver_is_told_in_the_loaders_words(cuda_machine: pytest.MonkeyPatch) -> None:
    def absent() -> Any:
        raise OSError("libcuda.so.1: cannot open shared object file")

    cuda_machine.setattr(cuda, "Driver", absent)
    failed = cuda.probe().failed
    assert failed is not None
    assert (failed.name, failed.detail) == ("driver", "OSError: libcuda.so.1: cannot open shared object file")
    assert "driver" in failed.cure


def test_no_visible_gpu_names_the_variable(cuda_machine: pytest.MonkeyPatch) -> None:
    cuda_machine.setenv("CUDA_VISIBLE_DEVICES", "")
    cuda_machine.setattr(FakeDriver, "found", ())
    failed = cuda.probe().failed
    assert failed is not None
    assert failed.name == "device"
    assert "CUDA_VISIBLE_DEVICES=''" in failed.cure


def test_a_runtime_that_does_not_start_quotes_torchs_warning(cuda_machine: pytest.MonkeyPatch) -> None:
    def unavailable() -> bool:
        import warnings

        warnings.warn("The NVIDIA driver on your system is too old", stacklevel=2)
        return False

    cuda_machine.setattr(torch.cuda, "is_available", unavailable)
    assert cuda.probe().reason == "CUDA runtime: The NVIDIA driver on your system is too old"


@pytest.mark.parametrize(
    ("capability", "built", "served"),
    [
        ((9, 0), ["sm_90"], True),
        ((8, 6), ["sm_80"], True),  # a newer minor of the same major
        ((8, 0), ["sm_86"], False),
        ((7, 0), ["sm_75", "sm_80"], False),
        ((12, 0), ["sm_90", "compute_90"], True),  # PTX is compiled for anything newer
        ((9, 0), ["sm_90a"], True),
        ((10, 3), ["sm_100"], True),
    ],
)
def test_kernels_for_the_gpu_are_found_in_the_build(
    cuda_machine: pytest.MonkeyPatch, capability: tuple[int, int], built: list[str], served: bool
) -> None:
    cuda_machine.setattr(FakeDriver, "found", (Gpu("GPU", capability),))
    cuda_machine.setattr(torch.cuda, "get_arch_list", lambda: built)
    assert cuda.probe().available == served


def test_driver_errors_carry_their_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Library:
        def cuInit(self, flags: int) -> int:
            return 100

        def cuGetErrorName(self, status: int, text: Any) -> int:
            ctypes.cast(text, ctypes.POINTER(ctypes.c_char_p))[0] = b"CUDA_ERROR_NO_DEVICE"
            return 0

    monkeypatch.setattr(cuda_driver.ctypes, "CDLL", lambda name: Library())
    with pytest.raises(RuntimeError, match=r"cuInit: CUDA_ERROR_NO_DEVICE \(100\)"):
        cuda_driver.Driver()
