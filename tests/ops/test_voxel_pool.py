"""Voxel pooling, of given features and of lifted ones, against the definitions and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.ops import voxel_pool, voxel_pool_lift
from portbev.ops.reference import voxel_pool as reference
from portbev.ops.voxel_pool import VOXEL_POOL, VoxelPoolCall
from portbev.ops.voxel_pool_lift import VOXEL_POOL_LIFT, VoxelPoolLiftCall

Size = tuple[int, int, int]
sizes = st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(1, 2))


def voxels_around(size: Size, *shape: int, seed: int) -> Tensor:
    """Some inside, some a few cells outside on every side."""
    rng = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(-2, s + 2, shape, generator=rng, dtype=torch.int32) for s in size], -1)


def normal(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 2), st.integers(0, 40), st.integers(1, 3), sizes, st.integers(0, 2**16))
def test_pool_equals_its_definition(batch: int, points: int, channels: int, size: Size, seed: int) -> None:
    features, voxels = normal(batch, points, channels, seed=seed), voxels_around(size, batch, points, seed=seed)
    defined = VOXEL_POOL.definition(VoxelPoolCall(features, voxels, list(size)))
    torch.testing.assert_close(voxel_pool(features, voxels, size), defined)


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
    sizes,
    st.integers(0, 2**16),
)
def test_lift_equals_its_definition_and_pooling_of_materialised_points(
    shape: tuple[int, ...], channels: int, size: Size, seed: int
) -> None:
    batch, cameras, _, h, w = shape
    depth, context = normal(*shape, seed=seed), normal(batch, cameras, channels, h, w, seed=seed + 1)
    voxels = voxels_around(size, *shape, seed=seed)
    out = voxel_pool_lift(depth, context, voxels, size)
    torch.testing.assert_close(out, VOXEL_POOL_LIFT.definition(VoxelPoolLiftCall(depth, context, voxels, list(size))))
    points = torch.einsum("bndhw,bnchw->bndhwc", depth, context).flatten(1, 4)
    torch.testing.assert_close(out, voxel_pool(points, voxels.flatten(1, 4), size))
    assert out.shape == (batch, size[1], size[0], channels)


def test_rows_are_y_and_columns_x() -> None:
    voxels = torch.tensor([[[2, 1, 0]]], dtype=torch.int32)
    assert voxel_pool(torch.ones(1, 1, 1), voxels, (4, 3, 1)).nonzero().tolist() == [[0, 1, 2, 0]]


def test_cells_above_each_other_are_summed_and_those_outside_in_z_dropped() -> None:
    voxels = torch.tensor([[[0, 0, 0], [0, 0, 1], [0, 0, 2], [0, 0, -1]]], dtype=torch.int32)
    features = torch.tensor([[[1.0], [10.0], [100.0], [1000.0]]])
    assert voxel_pool(features, voxels, (1, 1, 2)).item() == 11


def test_a_point_outside_does_not_land_in_the_neighbouring_row_or_image() -> None:
    """Flattened, (X, 0) is the cell (0, 1), and (-1, 0) of the second image one of the first."""
    voxels = torch.tensor([[[3, 0, 0], [0, 2, 0]], [[-1, 0, 0], [0, -1, 0]]], dtype=torch.int32)
    assert voxel_pool(torch.ones(2, 2, 1), voxels, (3, 2, 1)).abs().sum() == 0


def test_huge_indices_do_not_wrap_around() -> None:
    extremes = torch.tensor([[[2**31 - 1, 0, 0], [0, -(2**31), 0], [1, 1, 2**31 - 1]]], dtype=torch.int32)
    assert voxel_pool(torch.ones(1, 3, 1), extremes, (2, 2, 1)).abs().sum() == 0


def test_gradients_equal_finite_differences() -> None:
    size = (3, 2, 2)
    features, voxels = normal(2, 7, 2).requires_grad_(), voxels_around(size, 2, 7, seed=3)
    torch.autograd.gradcheck(lambda f: voxel_pool(f, voxels, size), [features])
    depth, context = normal(2, 1, 3, 2, 2).requires_grad_(), normal(2, 1, 2, 2, 2).requires_grad_()
    ranks = voxels_around(size, 2, 1, 3, 2, 2, seed=4)
    torch.autograd.gradcheck(lambda d, c: voxel_pool_lift(d, c, ranks, size), [depth, context])


def test_only_one_of_depth_and_context_may_need_a_gradient() -> None:
    depth, context = normal(1, 1, 2, 2, 2), normal(1, 1, 3, 2, 2).requires_grad_()
    voxels = torch.zeros(1, 1, 2, 2, 2, 3, dtype=torch.int32)
    voxel_pool_lift(depth, context, voxels, (1, 1, 1)).sum().backward()
    assert context.grad is not None and depth.grad is None
    torch.testing.assert_close(context.grad, depth.sum(2)[:, :, None].expand_as(context))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_sums_in_float32(dtype: torch.dtype) -> None:
    """4,096 ones: a bfloat16 sum stops at 256, a float16 sum of tenths loses several per cent."""
    points = 4096
    voxels = torch.zeros(1, points, 3, dtype=torch.int32)
    features = torch.full((1, points, 1), 0.1, dtype=dtype)
    exact = features.double().sum()
    for out in (
        voxel_pool(features, voxels, (1, 1, 1)),
        voxel_pool_lift(
            features.reshape(1, 1, 16, 16, 16),
            torch.ones(1, 1, 1, 16, 16, dtype=dtype),
            voxels.reshape(1, 1, 16, 16, 16, 3),
            (1, 1, 1),
        ),
    ):
        assert out.dtype == dtype
        assert abs(out.double().item() - exact) <= torch.finfo(dtype).eps / 2 * exact + 1e-3


def test_points_beyond_a_chunk_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    size = (3, 2, 1)
    depth, context = normal(1, 2, 3, 2, 2).requires_grad_(), normal(1, 2, 2, 2, 2).requires_grad_()
    voxels = voxels_around(size, 1, 2, 3, 2, 2, seed=5)

    def run() -> list[Tensor]:
        out = voxel_pool_lift(depth, context, voxels, size)
        points = voxel_pool(depth.reshape(1, -1, 1), voxels.reshape(1, -1, 3), size)
        return [out, points, *torch.autograd.grad(out.square().sum(), [depth, context])]

    whole = run()
    monkeypatch.setattr(reference, "CHUNK", 5)
    for one, other in zip(whole, run(), strict=True):
        assert torch.equal(one, other)


def lifted(**change: Any) -> dict[str, Any]:
    good = {
        "depth": torch.rand(1, 2, 3, 4, 5),
        "context": torch.rand(1, 2, 6, 4, 5),
        "voxels": torch.zeros(1, 2, 3, 4, 5, 3, dtype=torch.int32),
        "size": (2, 2, 1),
    }
    return {**good, **change}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("depth", torch.rand(2, 3, 4, 5)),
        ("depth", torch.ones(1, 2, 3, 4, 5, dtype=torch.int32)),
        ("context", torch.rand(1, 2, 6, 5, 4)),
        ("context", torch.rand(1, 2, 6, 4, 5, dtype=torch.float64)),
        ("voxels", torch.zeros(1, 2, 3, 4, 5, 2, dtype=torch.int32)),
        ("voxels", torch.zeros(1, 2, 3, 4, 5, 3)),
        ("size", (2, 2)),
        ("size", (2, 0, 1)),
    ],
)
def test_bad_arguments_of_lift_are_named(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^voxel_pool_lift: {name}"):
        voxel_pool_lift(**lifted(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("features", torch.rand(7, 2)),
        ("features", torch.ones(1, 7, 2, dtype=torch.int64)),
        ("voxels", torch.zeros(1, 6, 3, dtype=torch.int32)),
        ("voxels", torch.zeros(1, 7, 3, dtype=torch.int64)),
        ("size", (2, 2, -1)),
    ],
)
def test_bad_arguments_of_pool_are_named(name: str, value: Any) -> None:
    good = {"features": torch.rand(1, 7, 2), "voxels": torch.zeros(1, 7, 3, dtype=torch.int32), "size": (2, 2, 1)}
    with pytest.raises(ValueError, match=f"^voxel_pool: {name}"):
        voxel_pool(**{**good, name: value})
