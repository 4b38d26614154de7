"""Mixed precision: which dtype a call computes in, and that autocast does not reach into the kernels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops import deform_conv2d, dropout, fft, ms_deform_attn, voxel_pool, voxel_pool_lift
from portbev.ops.voxel_pool import VoxelPoolCall

KEY = {"seed": 1, "site": 2, "step": 3}


def deform(dtype: torch.dtype = torch.float32) -> list[Tensor]:
    rng = torch.Generator().manual_seed(0)
    shapes = [(1, 64, 6, 7), (1, 18, 6, 7), (8, 64, 3, 3), (8,), (1, 9, 6, 7)]
    return [torch.randn(shape, generator=rng).to(dtype) for shape in shapes]


def amp(dtype: torch.dtype = torch.bfloat16) -> torch.autocast:
    return torch.autocast("cpu", dtype=dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deform_conv2d_computes_in_the_autocast_dtype_with_float32_weights(dtype: torch.dtype) -> None:
    x, *rest = deform()
    for image in (x, x.to(dtype)):
        with amp(dtype):
            out = deform_conv2d(image, *rest, padding=1)
        assert out.dtype == dtype
        assert torch.equal(out, deform_conv2d(*deform(dtype), padding=1))


def test_deform_conv2d_accumulates_in_float32_under_autocast() -> None:
    """Autocast left on inside the kernel would round the sampled values before the product."""
    exact = deform_conv2d(*[t.double() for t in deform(torch.bfloat16)], padding=1)
    with amp():
        out = deform_conv2d(*deform(), padding=1)
    bound = torch.finfo(torch.bfloat16).eps / 2 * exact.abs() + 1e-4
    assert ((out.double() - exact).abs() <= bound).all()


def test_gradients_under_autocast_have_the_dtypes_of_their_tensors() -> None:
    x, *rest = (t.requires_grad_() for t in deform())
    half = x.detach().bfloat16().requires_grad_()
    with amp():
        out = deform_conv2d(half, *rest, padding=1)
        loss = out.float().square().sum()
    loss.backward()
    assert half.grad is not None and half.grad.dtype == torch.bfloat16
    for tensor in rest:
        assert tensor.grad is not None and tensor.grad.dtype == torch.float32


def test_backward_inside_an_autocast_region_equals_that_outside() -> None:
    def gradients(inside: bool) -> tuple[Tensor, ...]:
        tensors = [t.requires_grad_() for t in deform()]
        with amp():
            loss = deform_conv2d(*tensors, padding=1).float().square().sum()
            if inside:
                return torch.autograd.grad(loss, tensors)
        return torch.autograd.grad(loss, tensors)

    for one, other in zip(gradients(True), gradients(False), strict=True):
        assert torch.equal(one, other)


def test_without_autocast_deform_conv2d_follows_the_input() -> None:
    _, *rest = deform()
    for dtype in (torch.bfloat16, torch.float64):
        image, *same = deform(dtype)
        out = deform_conv2d(image, *rest, padding=1)
        assert out.dtype == dtype
        if dtype == torch.bfloat16:
            assert torch.equal(out, deform_conv2d(image, *same, padding=1))


def test_float64_stays_float64_under_autocast() -> None:
    with amp():
        assert deform_conv2d(*deform(torch.float64), padding=1).dtype == torch.float64


def test_voxel_pooling_is_float32_under_autocast() -> None:
    features, voxels = torch.rand(1, 50, 3).bfloat16(), torch.zeros(1, 50, 3, dtype=torch.int32)
    with amp():
        pooled = voxel_pool(features, voxels, (2, 2, 1))
    assert torch.equal(pooled, voxel_pool(features.float(), voxels, (2, 2, 1)))
    depth, context = torch.rand(1, 1, 5, 2, 5), torch.rand(1, 1, 3, 2, 5).bfloat16()
    with amp():  # softmax is float32 under autocast, a convolution bfloat16
        lifted = voxel_pool_lift(depth, context, voxels.reshape(1, 1, 5, 2, 5, 3), (2, 2, 1))
    assert lifted.dtype == torch.float32
    torch.testing.assert_close(
        lifted[0, 0, 0], (depth[:, :, None] * context.float()[:, :, :, None]).sum((0, 1, 3, 4, 5))
    )


def test_fft_takes_half_precision_to_float32_under_autocast() -> None:
    x = torch.rand(8)
    with amp():
        assert torch.equal(fft(x.bfloat16()), fft(x.bfloat16().float()))


def test_dropout_keeps_the_dtype_under_autocast() -> None:
    with amp():
        for dtype in (torch.float32, torch.bfloat16):
            assert dropout(torch.ones(9, dtype=dtype), 0.5, training=True, **KEY).dtype == dtype


def test_a_plugins_kernel_runs_with_autocast_off(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def forward(call: VoxelPoolCall) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return call.features.new_zeros(call.features.shape[0], call.size[1], call.size[0], call.features.shape[2])

    monkeypatch.setitem(KERNELS.references, "voxel_pool", Kernel("voxel_pool", "spy", forward))
    monkeypatch.setattr(KERNELS, "_active", {})
    with amp():
        voxel_pool(torch.rand(1, 2, 3), torch.zeros(1, 2, 3, dtype=torch.int32), (1, 1, 1))
    assert seen == [False]


def test_autocast_compiles_as_one_graph() -> None:
    compiled = torch.compile(deform_conv2d, fullgraph=True, backend="aot_eager")
    with amp():
        assert torch.equal(compiled(*deform(), padding=1), deform_conv2d(*deform(), padding=1))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_deformable_attention_is_float32_under_autocast_with_locations_unrounded(dtype: torch.dtype) -> None:
    rng = torch.Generator().manual_seed(0)
    value, weights = torch.randn(1, 30_000, 2, 8, generator=rng).to(dtype), torch.rand(1, 50, 2, 1, 4, generator=rng)
    locations = torch.rand(1, 50, 2, 1, 4, 2, generator=rng)  # bfloat16 would move them by a pixel of 300
    with amp(dtype):
        out = ms_deform_attn(value, [(100, 300)], locations, weights)
    assert torch.equal(out, ms_deform_attn(value.float(), [(100, 300)], locations, weights))
