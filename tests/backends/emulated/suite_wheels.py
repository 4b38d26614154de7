"""What the published wheels can and cannot do, at the sizes of the official configurations and beyond operators."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from portbev import ops
from portbev.errors import BackendError
from portbev.kernels import KERNELS
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.fft import FftCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.runtime import activate
from portbev_npu.kernels import KERNELS as NPU_KERNELS
from portbev_npu.kernels import torch_npu_fft


def empty(*shape: int) -> Tensor:
    return torch.empty(shape, device="meta")


def convolution(images: int, channels: int, height: int, width: int, groups: int, masked: bool) -> DeformConv2dCall:
    """3x3 with as many results as inputs, padding 1."""
    places = (height, width)
    mask = empty(images, 9, *places) if masked else None
    weight = empty(channels, channels // groups, 3, 3)
    x, offset = empty(images, channels, *places), empty(images, 18, *places)
    return DeformConv2dCall(x, offset, weight, mask, None, [1, 1], [1, 1], [1, 1], groups, 1)


def halved(call: DeformConv2dCall) -> DeformConv2dCall:
    return call._replace(input=call.input.half(), offset=call.offset.half(), weight=call.weight.half())


def attention(images: int, queries: int, levels: list[tuple[int, int]], points: int) -> MsDeformAttnCall:
    """Eight heads of 32 channels."""
    pixels, places = sum(h * w for h, w in levels), empty(images * queries, 8, len(levels), points, 2)
    shapes = [size for level in levels for size in level]
    counts = torch.full((images,), queries)
    return MsDeformAttnCall(empty(images, pixels, 8, 32), places, places[..., 0], counts, shapes)


BEVFORMER = [(116, 200), (58, 100), (29, 50), (15, 25)]
ECHOFUSION = [(128, 128), (64, 64), (32, 32)]
OFFICIAL: dict[str, tuple[str, Any]] = {
    "BEVDepth: depth net": ("deform_conv2d", convolution(48, 512, 16, 44, 4, masked=False)),
    "BEVDepth: depth net, fp16": ("deform_conv2d", halved(convolution(48, 512, 16, 44, 4, masked=False))),
    "BEVDepth: lift": (
        "voxel_pool_lift",
        VoxelPoolLiftCall(
            empty(8, 6, 112, 16, 44), empty(8, 6, 80, 16, 44), empty(8, 6, 112, 16, 44, 3), [128, 128, 1]
        ),
    ),
    "points of BEVDepth's frustum": (
        "voxel_pool",
        VoxelPoolCall(empty(8, 473_088, 80), empty(8, 473_088, 3), [128, 128, 1]),
    ),
    "BEVFormer base: third stage": ("deform_conv2d", convolution(6, 256, 58, 100, 1, masked=True)),
    "BEVFormer base: fourth stage": ("deform_conv2d", convolution(6, 512, 29, 50, 1, masked=True)),
    "BEVFormer base: temporal": ("ms_deform_attn", attention(2, 40_000, [(200, 200)], 4)),
    "BEVFormer base: cameras": ("ms_deform_attn", attention(6, 9_675, BEVFORMER, 8)),
    "BEVFormer base: decoder": ("ms_deform_attn", attention(1, 900, [(200, 200)], 4)),
    "EchoFusion: view": ("ms_deform_attn", attention(1, 32_768, [(128, 60)], 10)),
    "EchoFusion: encoder": ("ms_deform_attn", attention(1, 21_504, ECHOFUSION, 4)),
}


@pytest.mark.parametrize("name", OFFICIAL)
def test_mx_driving_serves_the_official_sizes_in_both_directions(name: str) -> None:
    operator, call = OFFICIAL[name]
    (kernel,) = (k for k in NPU_KERNELS if (k.operator, k.provider) == (operator, "mx_driving"))
    assert kernel.probe() is None
    assert kernel.refusal(call) is None
    if kernel.backward is not None:
        assert kernel.refusal(call, grad_out=empty(1)) is None


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
