"""What the published wheels can and cannot do, beyond the operators' limits."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
from torch import Tensor

from portbev import ops
from portbev.errors import BackendError
from portbev.kernels import KERNELS
from portbev.ops.fft import FftCall
from portbev.runtime import activate
from portbev_npu.kernels import torch_npu_fft


def test_loss_scaling_is_refused_where_values_saturate(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = activate("npu", emulate=True)
    assert backend.grad_scaler("fp16").is_enabled()
    monkeypatch.setenv("INF_NAN_MODE_ENABLE", "0")
    assert not backend.grad_scaler("none").is_enabled()
    assert not backend.grad_scaler("bf16").is_enabled()
    with pytest.raises(BackendError) as caught:
        backend.grad_scaler("fp16")
    assert str(caught.value).startswith("compute.amp: fp16 needs overflow to show as inf")
    assert "INF_NAN_MODE_ENABLE" in str(caught.value)
    assert backend.environment()["variables"]["INF_NAN_MODE_ENABLE"] == "0"


def test_a_process_whose_cuda_means_the_npu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = activate("npu", emulate=True)
    assert backend.environment()["warnings"] == []
    monkeypatch.setitem(sys.modules, "torch_npu.contrib.transfer_to_npu", ModuleType("transfer_to_npu"))
    assert backend.environment()["warnings"] == [
        "torch_npu.contrib.transfer_to_npu was imported before: torch.cuda and torch.distributed mean the npu here"
    ]


def test_the_emulated_npu_has_no_complex_transform_of_torch_npu_and_takes_the_matrices() -> None:
    activate("npu", emulate=True)
    entry = KERNELS.ledger.snapshot()["fft"]["passed_over"]
    said = {record["provider"]: record["reason"] for record in entry}
    assert said["torch_npu"] == "this torch_npu registers no aten::_fft_c2c"
    ops.fft(torch.ones(2, 8, device="npu"))
    assert KERNELS.ledger.snapshot()["fft"]["forward"] == {"matrix_dft": 1}


@pytest.fixture
def transforms(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Complex transforms on the device, as a torch_npu with NNAL has them: computed on the host."""
    torch_npu_fft.self_check.cache_clear()
    for name in ("fft", "ifft"):
        plain = getattr(torch.fft, name)
        monkeypatch.setattr(
            torch.fft, name, lambda x, norm="backward", plain=plain: plain(x.cpu(), norm=norm).to(x.device)
        )
    monkeypatch.setattr(torch._C, "_dispatch_has_kernel_for_dispatch_key", lambda operator, key: True)
    yield monkeypatch
    torch_npu_fft.self_check.cache_clear()


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("is_complex", [False, True])
def test_a_complex_transform_that_passes_its_self_check_is_used(
    transforms: pytest.MonkeyPatch, inverse: bool, is_complex: bool
) -> None:
    try:
        activate("npu", emulate=True, deterministic="off")  # matrix_dft is deterministic and preferred otherwise
        planes = torch.randn(3, 24, 2)
        x = torch.view_as_complex(planes) if is_complex else planes[..., 0]
        found = ops.fft(x.to("npu"), inverse=inverse)
        assert KERNELS.ledger.snapshot()["fft"]["forward"] == {"torch_npu": 1}
    finally:
        transforms.undo()
        activate("npu", emulate=True)
    torch.testing.assert_close(found.cpu(), (torch.fft.ifft if inverse else torch.fft.fft)(x))


def test_a_transform_that_is_wrong_for_large_values_is_passed_on_with_how_wrong(transforms: pytest.MonkeyPatch) -> None:
    plain = torch.fft.fft

    def clamped(x: Tensor, norm: str = "backward") -> Tensor:
        return plain(x if x.device.type == "cpu" else x.cpu().clamp(-100, 100), norm=norm).to(x.device)

    transforms.setattr(torch.fft, "fft", clamped)
    said = torch_npu_fft.supports(FftCall(torch.ones(1, 24, device="npu"), False, "backward"))
    assert str(said).startswith("its transform of length 24 is off by ")


def test_a_transform_that_raises_is_passed_on_with_its_words(transforms: pytest.MonkeyPatch) -> None:
    def raising(x: Tensor, norm: str = "backward") -> Tensor:
        raise RuntimeError("libasdsip.so: cannot open\nmore")

    transforms.setattr(torch.fft, "fft", raising)
    said = torch_npu_fft.supports(FftCall(torch.ones(1, 24, device="npu"), False, "backward"))
    assert said == "its transform of length 24 raised RuntimeError: libasdsip.so: cannot open"
    double = torch_npu_fft.supports(FftCall(torch.ones(1, 24, dtype=torch.float64, device="npu"), False, "backward"))
    assert double == "input is float64; torch_npu takes single precision only"
