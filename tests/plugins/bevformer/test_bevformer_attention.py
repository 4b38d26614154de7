"""Ego motion, projection and the two attentions of BEVFormer against formulations that are slow and plain."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bevformer_cases import lidar2img
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.ops import ms_deform_attn
from portbev_bevformer import history
from portbev_bevformer.projection import VisiblePairs, pillar_points, project, visible_pairs
from portbev_bevformer.spatial import SpatialCrossAttention, VisiblePairTensors

RANGE = (-20.0, -20.0, -3.0, 20.0, 20.0, 3.0)


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    degrees=st.floats(-400, 400),
    x=st.floats(-20, 120),
    y=st.floats(-20, 120),
)
@settings(max_examples=60, deadline=None)
def test_a_turned_map_takes_each_cell_from_the_nearest_source(
    rows: int, columns: int, degrees: float, x: float, y: float
) -> None:
    source = history.rotation_source((rows, columns), degrees, (x, y)).reshape(rows, columns)
    angle = np.radians(degrees)
    for row in range(rows):
        for column in range(columns):
            place = complex(column + 0.5 - x, row + 0.5 - y) * np.exp(1j * angle) + complex(x, y)
            near = (place.real - 0.5, place.imag - 0.5)
            if min(abs(v % 1 - 0.5) for v in near) < 1e-6:
                continue  # between two cells
            i, j = round(near[1]), round(near[0])
            inside = 0 <= i < rows and 0 <= j < columns
            assert source[row, column] == (i * columns + j if inside else -1)


def test_driving_straight_ahead_shifts_along_the_map_only() -> None:
    """Heading east, moving east: the map's row axis is the direction of travel."""
    can_bus = np.zeros((2, 18))
    can_bus[0, :2], can_bus[0, 16] = (3.0, 0.0), 0.0
    can_bus[1, :2], can_bus[1, 16] = (0.0, 3.0), np.pi / 2
    moved = history.shift(can_bus, (0.5, 0.25), (20, 40))
    np.testing.assert_allclose(moved, [[0, 3 / 10], [0, 3 / 10]], atol=1e-12)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_points_are_seen_where_a_pinhole_camera_sees_them(seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = pillar_points((5, 4), 3, RANGE)
    matrix = lidar2img(rng, 2, (32, 64))
    places, seen = project(points, matrix, (30, 64))
    assert places.shape == (2, 20, 3, 2) and seen.shape == (2, 20, 3)
    for camera in range(2):
        for anchor in range(3):
            u, v, d, _ = matrix[camera] @ np.concatenate([points[anchor].T, np.ones((1, 20))]).astype(np.float64)
            x, y = u / d / 64, v / d / 30
            inside = (d > 1e-5) & (x > 0) & (x < 1) & (y > 0) & (y < 1)
            border = np.minimum(np.abs(x * (1 - x)), np.abs(y * (1 - y))) < 1e-5
            assert (inside == seen[camera, :, anchor])[~border].all()
            np.testing.assert_allclose(places[camera, inside, anchor], np.stack([x, y], -1)[inside], atol=1e-4)


def test_pillars_stand_on_cell_centres_with_room_above_and_below() -> None:
    points = pillar_points((2, 4), 4, RANGE)
    assert points.shape == (4, 8, 3)
    np.testing.assert_allclose(points[0, :5, 0], [-15, -5, 5, 15, -15])
    np.testing.assert_allclose(points[0, :5, 1], [-10, -10, -10, -10, 10])
    np.testing.assert_allclose(points[:, 0, 2], [-2.5, -2.5 + 5 / 3, 2.5 - 5 / 3, 2.5], rtol=1e-6)


def scene(seed: int, batch: int, cameras: int = 3, queries: int = 12) -> tuple[VisiblePairs, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    points = pillar_points((3, queries // 3), 2, RANGE)
    matrices = np.stack([lidar2img(rng, cameras, (32, 64)) for _ in range(batch)])
    places, seen = project(points, matrices, (32, 64))
    return visible_pairs(places, seen, pairs_of_first_sample=False), places, seen


@given(seed=st.integers(0, 10_000), batch=st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_pairs_are_exactly_the_seen_ones_image_by_image(seed: int, batch: int) -> None:
    pairs, places, seen = scene(seed, batch)
    hit = seen.any(-1)
    expected = [(b, n, q) for b in range(batch) for n in range(3) for q in range(12) if hit[b, n, q]]
    assert [int(q) for q in pairs.query] == [b * 12 + q for b, _, q in expected]
    assert list(pairs.counts) == [int(hit[b, n].sum()) for b in range(batch) for n in range(3)]
    np.testing.assert_array_equal(pairs.reference, np.array([places[e] for e in expected]).reshape(-1, 2, 2))
    np.testing.assert_allclose(pairs.weight.reshape(batch, 12), 1 / np.maximum(hit.sum(1), 1))


def padded_attention(module: SpatialCrossAttention, x: Tensor, features: Tensor, shapes, places, seen) -> Tensor:
    """As the original does it: each camera's queries in a list as long as the longest, zeros behind."""
    inner, (batch, cameras) = module.deformable_attention, seen.shape[:2]
    hit = torch.from_numpy(seen.any(-1))
    longest = int(hit.sum(-1).max())
    queries = x.new_zeros(batch, cameras, longest, x.shape[-1])
    spots = x.new_zeros(batch, cameras, longest, *places.shape[3:])
    for b in range(batch):
        for n in range(cameras):
            index = hit[b, n].nonzero()[:, 0]
            queries[b, n, : len(index)] = x[b, index]
            spots[b, n, : len(index)] = torch.from_numpy(places[b, n])[index]
    rows = queries.flatten(0, 1)
    offsets = inner.sampling_offsets(rows).unflatten(-1, (inner.heads, inner.levels, inner.points, 2))
    weights = inner.attention_weights(rows).unflatten(-1, (inner.heads, -1)).softmax(-1)
    weights = weights.unflatten(-1, (inner.levels, inner.points))
    sizes = torch.tensor([[w, h] for h, w in shapes])
    anchors = spots.flatten(0, 1)
    chosen = torch.stack([anchors[:, :, p % anchors.shape[2]] for p in range(inner.points)], 2)
    locations = chosen[:, :, None, None] + offsets / sizes[:, None]
    value = inner.value_proj(features).unflatten(-1, (inner.heads, -1))
    out = ms_deform_attn(value, shapes, locations, weights).unflatten(0, (batch, cameras))
    slots = torch.zeros_like(x)
    for b in range(batch):
        for n in range(cameras):
            index = hit[b, n].nonzero()[:, 0]
            slots[b] = slots[b].index_add(0, index, out[b, n, : len(index)])
    return module.output_proj(slots / hit.sum(1).clamp(min=1)[..., None]) + x


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ragged_cross_attention_equals_the_padded_one_forward_and_backward(seed: int) -> None:
    torch.manual_seed(seed)
    pairs, places, seen = scene(seed, 2)
    shapes = [(4, 5), (2, 3)]
    module = SpatialCrossAttention(16, 2, levels=2, points=4).double()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    results = []
    for ragged in (True, False):
        module.zero_grad()
        generator = torch.Generator().manual_seed(seed)
        x = torch.randn(2, 12, 16, dtype=torch.float64, generator=generator).requires_grad_()
        features = torch.randn(6, 26, 16, dtype=torch.float64, generator=generator).requires_grad_()
        if ragged:
            out = module.float()(x.float(), features.float(), shapes, VisiblePairTensors(pairs, x.device)).double()
            module.double()
        else:
            out = padded_attention(module, x, features, shapes, places.astype(np.float64), seen)
        out.square().sum().backward()
        inner = [p.grad.clone().double() for p in module.parameters() if p.grad is not None]
        results.append([out.detach(), x.grad, features.grad, *inner])
    assert len(results[0]) == len(results[1])
    for ours, padded in zip(*results, strict=True):
        torch.testing.assert_close(ours, padded, rtol=1e-4, atol=1e-4)


def test_queries_that_no_camera_sees_keep_their_value_and_a_bias() -> None:
    module = SpatialCrossAttention(16, 2, levels=1, points=2)
    torch.nn.init.constant_(module.output_proj.bias, 0.5)
    nothing = VisiblePairs(np.zeros(0, np.int64), (0, 0), np.zeros((0, 2, 2), np.float32), np.ones(4, np.float32))
    x = torch.randn(1, 4, 16, requires_grad=True)
    out = module(x, torch.randn(2, 6, 16), [(2, 3)], VisiblePairTensors(nothing, x.device))
    torch.testing.assert_close(out, x + 0.5)
    out.sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))
