"""Voxel pooling in Triton, by the interpreter, against the definitions in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.ops.reference import voxel_pool as reference_pool
from portbev.ops.reference import voxel_pool_lift as reference_lift
from portbev.ops.voxel_pool import VOXEL_POOL, VoxelPoolCall
from portbev.ops.voxel_pool_lift import VOXEL_POOL_LIFT, VoxelPoolLiftCall
from portbev_triton import intervals, voxel_pool

DTYPES = [torch.float32, torch.float16, torch.bfloat16]
Size = tuple[int, int, int]


def voxels_around(size: Size, *shape: int, seed: int = 0) -> Tensor:
    """Some inside, some a few cells outside on every side."""
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(-2, s + 2, shape, generator=rng, dtype=torch.int32) for s in size], -1)


def normal(*shape: int, seed: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def pool_call(shape: tuple[int, int, int], size: Size, dtype: torch.dtype, seed: int = 1) -> VoxelPoolCall:
    return VoxelPoolCall(normal(*shape, seed=seed, dtype=dtype), voxels_around(size, *shape[:2], seed=seed), list(size))


def lift_call(shape: tuple[int, ...], channels: int, size: Size, dtype: torch.dtype, seed: int = 1) -> Any:
    B, N, _, H, W = shape
    depth, context = normal(*shape, seed=seed, dtype=dtype), normal(B, N, channels, H, W, seed=seed + 1, dtype=dtype)
    return VoxelPoolLiftCall(depth, context, voxels_around(size, *shape, seed=seed), list(size))


def wide(call: Any) -> Any:
    return call._replace(
        **{k: t.double() for k, t in call._asdict().items() if isinstance(t, Tensor) and t.is_floating_point()}
    )


def close(found: Tensor, exact: Tensor, terms: Tensor) -> None:
    """Within the one rounding at the end, and the rounding of a sum in float32 of ``terms`` (sums of magnitudes)."""
    assert found.shape == exact.shape and found.is_contiguous()
    bound = torch.finfo(found.dtype).eps * exact.abs() + 16 * torch.finfo(torch.float32).eps * terms.abs()
    tiny = torch.finfo(found.dtype).tiny
    assert bool(((found.double() - exact).abs() <= bound + tiny).all()), (found.double() - exact).abs().max()


def check_pool(call: VoxelPoolCall) -> None:
    exact, sizes = (
        VOXEL_POOL.definition(wide(call)),
        VOXEL_POOL.definition(wide(call._replace(features=call.features.abs()))),
    )
    close(voxel_pool.forward(call), exact, sizes)
    grad = normal(*exact.shape, seed=9, dtype=call.features.dtype)
    found = voxel_pool.backward(grad, call._replace(features=call.features.to("meta")))
    assert torch.equal(found, reference_pool.backward(grad, call))  # nothing is computed


def check_lift(call: VoxelPoolLiftCall) -> None:
    absolute = call._replace(depth=call.depth.abs(), context=call.context.abs())
    exact, sizes = VOXEL_POOL_LIFT.definition(wide(call)), VOXEL_POOL_LIFT.definition(wide(absolute))
    close(voxel_pool.lift_forward(call), exact, sizes)
    grad = normal(*exact.shape, seed=9, dtype=call.depth.dtype)
    gradients = reference_lift.backward(grad.double(), wide(call))
    bounds = reference_lift.backward(grad.double().abs(), wide(absolute))
    for found, right, terms in zip(voxel_pool.lift_backward(grad, call), gradients, bounds, strict=True):
        close(found, right, terms)
        assert found.dtype == call.depth.dtype


@pytest.mark.parametrize("dtype", DTYPES)
def test_pool_and_its_gradient(dtype: torch.dtype) -> None:
    check_pool(pool_call((2, 700, 13), (5, 3, 2), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_lift_and_its_gradients(dtype: torch.dtype) -> None:
    check_lift(lift_call((2, 2, 7, 3, 5), 19, (6, 5, 1), dtype))


@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(0, 2), st.integers(0, 300), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(1, 2)),
    st.integers(0, 99),
)
def test_pool_of_any_shape(shape: tuple[int, int, int], size: Size, seed: int) -> None:
    check_pool(pool_call(shape, size, torch.float32, seed))


@settings(max_examples=12, deadline=None)
@given(st.tuples(st.integers(0, 2), *[st.integers(1, 4)] * 4), st.integers(1, 5), st.integers(0, 99))
def test_lift_of_any_shape(shape: tuple[int, ...], channels: int, seed: int) -> None:
    check_lift(lift_call(shape, channels, (3, 2, 1), torch.float32, seed))


def test_more_channels_than_a_program_takes() -> None:
    check_pool(pool_call((1, 40, 300), (3, 2, 1), torch.float32))
    check_lift(lift_call((1, 1, 3, 2, 2), 300, (3, 2, 1), torch.float32))


@pytest.mark.parametrize("points", [127, 128, 129, 256, 257, 1000])
def test_a_cell_of_several_segments_loses_no_point(points: int) -> None:
    voxels = torch.zeros(1, points, 3, dtype=torch.int32)
    features = torch.arange(points, dtype=torch.float32)[None, :, None]
    out = voxel_pool.forward(VoxelPoolCall(features, voxels, [1, 2, 1]))
    assert out.flatten().tolist() == [points * (points - 1) / 2, 0.0]


def test_huge_indices_do_not_wrap_around() -> None:
    voxels = torch.tensor([[[2**31 - 1, 0, 0], [0, -(2**31), 0], [1, 1, 2**31 - 1]]], dtype=torch.int32)
    assert voxel_pool.forward(VoxelPoolCall(torch.ones(1, 3, 1), voxels, [2, 2, 1])).abs().sum() == 0


def test_a_nan_stays_in_its_cell_and_one_outside_is_dropped() -> None:
    voxels = torch.tensor([[[0, 0, 0], [1, 0, 0], [5, 0, 0]]], dtype=torch.int32)
    features = torch.tensor([[[1.0], [float("nan")], [float("nan")]]])
    out = voxel_pool.forward(VoxelPoolCall(features, voxels, [3, 1, 1])).flatten()
    assert out[0] == 1 and out[1].isnan() and out[2] == 0


def test_views_that_are_not_contiguous() -> None:
    call = lift_call((2, 2, 7, 3, 5), 4, (6, 5, 1), torch.float32)
    turned = call._replace(
        depth=call.depth.transpose(3, 4).contiguous().transpose(3, 4),
        context=call.context.to(memory_format=torch.channels_last_3d),
        voxels=call.voxels.flip(-1).contiguous().flip(-1),
    )
    assert torch.equal(voxel_pool.lift_forward(turned), voxel_pool.lift_forward(call))
    grad = normal(2, 5, 6, 4, seed=3)
    turned_grad = grad.transpose(1, 2).contiguous().transpose(1, 2)
    pairs = zip(voxel_pool.lift_backward(turned_grad, turned), voxel_pool.lift_backward(grad, call), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("run", [voxel_pool.lift_forward, lambda call: voxel_pool.lift_backward(GRAD, call)])
def test_the_order_of_programs_changes_no_bit(run: Callable[[Any], Any], request: pytest.FixtureRequest) -> None:
    call = lift_call((1, 2, 16, 8, 8), 8, (3, 2, 1), torch.float32)
    before = run(call)
    launches = request.getfixturevalue("another_order")
    after = run(call)
    assert launches[0] > 0
    torch.testing.assert_close(after, before, rtol=0, atol=0)


GRAD = normal(1, 2, 3, 8, seed=3)


def test_voxels_are_sorted_once_and_again_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    sorts: list[int] = []
    plain = intervals._sorted
    monkeypatch.setattr(intervals, "_sorted", lambda *given: sorts.append(1) or plain(*given))
    call = pool_call((1, 50, 2), (3, 2, 1), torch.float32)
    first = voxel_pool.forward(call)
    voxel_pool.forward(call)
    assert len(sorts) == 1
    call.voxels.add_(1)
    second = voxel_pool.forward(call)
    assert len(sorts) == 2 and not torch.equal(first, second)
    voxel_pool.forward(call._replace(size=[2, 2, 1]))
    assert len(sorts) == 3


def test_limits_send_the_call_elsewhere() -> None:
    call = lift_call((1, 1, 2, 2, 2), 1, (3, 2, 1), torch.float32)
    assert voxel_pool.supports_lift(call) is None
    assert "float64" in str(voxel_pool.supports_lift(wide(call)))
    many = call._replace(context=call.context.expand(-1, -1, 513, -1, -1))
    assert voxel_pool.supports_lift(many) is None and voxel_pool.supports_lift_backward(GRAD, many) is not None
    assert "int32" in str(voxel_pool.supports_lift(call._replace(size=[50_000, 50_000, 1])))
