"""Voxel pooling on the npu backend: bit equality with the CPU, limits with their reasons, and who serves instead."""

from __future__ import annotations

import mx_driving
import pytest
import torch
from kernel_inputs import both, served

from portbev import ops
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.runtime import activate
from portbev_npu.kernels import voxel_pool, voxel_pool_lift


def test_voxel_pool_is_served_and_equals_the_cpu_bit_for_bit() -> None:
    activate("npu", emulate=True)
    voxels = torch.randint(-1, 9, (2, 500, 3)).int()
    host, there = both(lambda f, v: ops.voxel_pool(f, v, (8, 7, 9)), [torch.randn(2, 500, 8), voxels])
    assert all(torch.equal(a, b) for a, b in zip(host, there, strict=True))
    assert "mx_driving" in served("voxel_pool", "forward")


@pytest.mark.parametrize(("channels", "provider"), [(16, "mx_driving"), (7, "reference")])
def test_voxel_pool_lift_is_served_and_equals_the_cpu_bit_for_bit(channels: int, provider: str) -> None:
    activate("npu", emulate=True)
    voxels = torch.randint(-1, 9, (2, 3, 4, 5, 6, 3)).int()
    inputs = [torch.rand(2, 3, 4, 5, 6), torch.randn(2, 3, channels, 5, 6), voxels]
    host, there = both(lambda d, c, v: ops.voxel_pool_lift(d, c, v, (8, 7, 9)), inputs)
    assert all(torch.equal(a, b) for a, b in zip(host, there, strict=True))
    assert served("voxel_pool_lift", "forward") == served("voxel_pool_lift", "backward") == {provider, "reference"}


def test_no_point_in_the_grid_gives_zeros_without_asking_the_vendor() -> None:
    activate("npu", emulate=True)
    voxels = torch.full((1, 1, 2, 2, 2, 3), -1).int().to("npu")
    depth, context = torch.rand(1, 1, 2, 2, 2, device="npu"), torch.rand(1, 1, 8, 2, 2, device="npu").requires_grad_()
    pooled = ops.voxel_pool_lift(depth, context, voxels, (3, 3, 1))
    pooled.sum().backward()
    assert pooled.abs().sum().item() == 0
    assert context.grad is not None
    assert context.grad.abs().sum().item() == 0


@pytest.mark.parametrize(
    ("shape", "size", "reason"),
    [
        ((129, 1, 7), (4, 3, 1), "129 batch"),
        ((1, 100_001, 7), (4, 3, 1), "100,001 points"),
        ((1, 4, 257), (4, 3, 1), "257 channels"),
        ((1, 4, 7), (1001, 3, 1), "1,001 cells in x"),
        ((1, 4, 7), (4, 3, 11), "11 cells in z"),
        ((5, 90_000, 250), (4, 3, 1), r"112,500,000 features"),
        ((1, 4, 368), (4, 3, 1), "368 channels; mx_driving takes at most 256 unless channels are a multiple of 8"),
        ((8, 1 << 20, 256), (4, 3, 1), "2,147,483,648 floats of features; mx_driving numbers them by int32"),
        ((8, 4, 256), (1024, 1024, 1), "2,147,483,648 floats of results; mx_driving numbers them by int32"),
        ((1, 0, 8), (4, 3, 1), "empty input"),
    ],
)
def test_mx_driving_voxel_pool_says_its_limits(shape: tuple[int, ...], size: tuple[int, ...], reason: str) -> None:
    features, voxels = torch.empty(shape, device="meta"), torch.empty(*shape[:2], 3, device="meta")
    said = voxel_pool.supports(VoxelPoolCall(features, voxels, list(size)))
    assert said is not None
    assert reason in said


@pytest.mark.parametrize("channels", [4, 12, 368])
def test_mx_driving_voxel_pool_lift_says_its_limits(channels: int) -> None:
    context = torch.empty(1, 1, channels, 2, 2, device="meta")
    depth = torch.empty(1, 1, 2, 2, 2, device="meta")
    said = voxel_pool_lift.supports(VoxelPoolLiftCall(depth, context, context, [4, 3, 1]))
    assert said == f"{channels} channels; mx_driving takes multiples of 8 up to 360"


@pytest.mark.parametrize(("channels", "function"), [(8, "bev_pool_v3"), (7, "npu_voxel_pooling_train")])
def test_voxel_pool_chooses_its_function_by_the_channels(
    channels: int, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[str] = []
    for name in ("bev_pool_v3", "npu_voxel_pooling_train"):
        plain = getattr(mx_driving, name)
        monkeypatch.setattr(mx_driving, name, lambda *a, name=name, plain=plain: called.append(name) or plain(*a))
    features, voxels = torch.randn(2, 50, channels), torch.randint(-1, 9, (2, 50, 3)).int()
    expected = ops.voxel_pool(features, voxels, (8, 7, 9))
    assert torch.equal(ops.voxel_pool(features.to("npu"), voxels.to("npu"), (8, 7, 9)).cpu(), expected)
    assert called == [function]


def test_more_points_than_the_slow_function_takes_are_pooled_in_blocks() -> None:
    """A point of BEVDepth's frustum in eight."""
    call = VoxelPoolCall(torch.empty(1, 473_088, 80, device="meta"), torch.empty(1, device="meta"), [128, 128, 1])
    assert voxel_pool.supports(call) is None


def test_no_point_of_voxel_pool_in_the_grid_gives_zeros_without_asking_the_vendor() -> None:
    pooled = ops.voxel_pool(torch.ones(1, 3, 8, device="npu"), torch.full((1, 3, 3), -1).int().to("npu"), (4, 3, 1))
    assert pooled.shape == (1, 3, 4, 8)
    assert pooled.count_nonzero().item() == 0


@pytest.mark.parametrize(
    ("cameras", "height", "channels", "size", "reason"),
    [
        (1, 2, 8, (1 << 14, 1 << 14, 1), "2,147,483,648 floats of results"),
        (1 << 13, 1 << 10, 256, (4, 3, 1), "2,147,483,648 floats of context"),
        (1 << 13, 1 << 10, 248, (4, 3, 1), None),
    ],
)
def test_what_int32_ranks_cannot_number_is_passed_on(
    cameras: int, height: int, channels: int, size: tuple[int, ...], reason: str | None
) -> None:
    context = torch.empty(1, cameras, channels, height, 1, device="meta")
    depth = torch.empty(1, cameras, 2, height, 1, device="meta")
    call = VoxelPoolLiftCall(depth, context, context, list(size))
    said = voxel_pool_lift.supports(call)
    assert said == voxel_pool_lift.supports_backward(depth, call)
    assert said is None if reason is None else str(said).startswith(reason)
