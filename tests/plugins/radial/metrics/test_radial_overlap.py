"""The area that turned rectangles share, against clipping corner by corner, and what every overlap must obey."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from radial_cases import car
from radial_naive import OVERLAP, corners, shared

from portbev_radial.metrics.constants import OVERLAPS, QUIRKS
from portbev_radial.metrics.iou import bev_iou, overlap, volume_iou
from portbev_radial.metrics.polygon import shared_area

centres = st.floats(-10, 10)
sizes = st.floats(0.01, 20)
angles = st.floats(-10, 10)
rectangles = st.tuples(centres, centres, sizes, sizes, angles)
quarter = st.sampled_from([0.0, math.pi / 2, math.pi, -math.pi / 2, math.pi / 4])
grid = st.integers(-4, 4).map(float)
touching = st.tuples(grid, grid, st.sampled_from([1.0, 2.0, 4.0]), st.sampled_from([1.0, 2.0]), quarter)
"""Rectangles whose corners and sides often coincide: the hard case of clipping."""
any_pair = st.one_of(st.tuples(rectangles, rectangles), st.tuples(touching, touching))


def area(first, second):
    return float(shared_area(np.array([first], float), np.array([second], float))[0])


def as_box(r):
    return np.array([[r[0], r[1], 0, r[2], r[3], 1, r[4]]])


@settings(max_examples=400, deadline=None)
@given(any_pair)
@example(((0, 0, 4, 2, 0), (0, 0, 4, 2, 1e-9)))
@example(((0, 0, 4, 2, 0.3), (0, 0, 4, 2, 0.3 + math.pi)))
@example(((0, 0, 4, 2, 0), (4, 0, 4, 2, 0)))
def test_equals_clipping_corner_by_corner(pair):
    first, second = pair
    naive = shared(corners(as_box(first)[0]), corners(as_box(second)[0]))
    assert area(first, second) == pytest.approx(naive, abs=1e-11 * (1 + first[2] * first[3] + second[2] * second[3]))


@settings(max_examples=200, deadline=None)
@given(any_pair)
def test_no_order_and_no_more_than_either(pair):
    first, second = pair
    value = area(first, second)
    assert value == pytest.approx(area(second, first), abs=1e-10)
    assert 0 <= value <= min(first[2] * first[3], second[2] * second[3]) + 1e-10


@settings(max_examples=200, deadline=None)
@given(any_pair, centres, centres, angles)
def test_moving_and_turning_both_changes_nothing(pair, dx, dy, turn):
    def moved(r):
        cos, sin = math.cos(turn), math.sin(turn)
        return (r[0] * cos - r[1] * sin + dx, r[0] * sin + r[1] * cos + dy, r[2], r[3], r[4] + turn)

    first, second = pair
    assert area(moved(first), moved(second)) == pytest.approx(area(first, second), abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(rectangles, st.floats(-1, 1), st.floats(-1, 1), st.floats(0.01, 1), angles)
def test_one_inside_the_other_is_shared_whole(outer, across, along, scale, turn):
    inner_radius = min(outer[2], outer[3]) / 4
    half = inner_radius * scale / math.sqrt(2)  # of a square within that radius, at any yaw
    x, y = across * (outer[2] / 2 - inner_radius), along * (outer[3] / 2 - inner_radius)
    cos, sin = math.cos(outer[4]), math.sin(outer[4])
    inner = (outer[0] + x * cos - y * sin, outer[1] + x * sin + y * cos, 2 * half, 2 * half, turn)
    assert area(outer, inner) == pytest.approx(4 * half * half, abs=1e-10)
    assert area(inner, outer) == pytest.approx(4 * half * half, abs=1e-10)


@settings(max_examples=100, deadline=None)
@given(rectangles, rectangles, angles, st.floats(1.0001, 3))
def test_apart_share_nothing(first, second, direction, factor):
    reach = factor * (math.hypot(first[2], first[3]) + math.hypot(second[2], second[3])) / 2
    away = (first[0] + reach * math.cos(direction), first[1] + reach * math.sin(direction), *second[2:])
    assert area(first, away) == 0


@settings(max_examples=100, deadline=None)
@given(rectangles)
def test_a_box_overlaps_itself_wholly_and_its_opposite_heading_too(r):
    box, back = as_box(r), as_box((*r[:4], r[4] + math.pi))
    assert bev_iou(box, box)[0] == pytest.approx(1, abs=1e-12)
    assert volume_iou(box, back)[0] == pytest.approx(1, abs=1e-10)


def test_squares_an_eighth_turn_apart_share_a_regular_octagon():
    assert area((3, 5, 1, 1, 0), (3, 5, 1, 1, math.pi / 4)) == pytest.approx(2 * (math.sqrt(2) - 1), abs=1e-14)


def test_many_pairs_are_as_single_ones():
    rng = np.random.default_rng(0)
    first, second = (np.column_stack([rng.uniform(-3, 3, (300, 2)), rng.uniform(1, 5, (300, 3))]) for _ in range(2))
    together = shared_area(first, second)
    assert together == pytest.approx([area(a, b) for a, b in zip(first, second, strict=True)], abs=1e-12)
    assert (together > 0).sum() > 100
    assert shared_area(first[:0], second[:0]).shape == (0,)


def test_boxes_without_area_overlap_nothing():
    flat = np.array([[10, 0, 0, 0, 0, 0, 0.3]], float)
    solid = np.array([car(10, 0)])
    for kind in OVERLAPS:
        for quirks in QUIRKS:
            assert overlap(kind, quirks, flat, flat)[0] == 0
            assert overlap(kind, quirks, flat, solid)[0] == 0


@pytest.mark.parametrize("kind", OVERLAPS)
@pytest.mark.parametrize("quirks", QUIRKS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_overlaps_equal_the_rules_in_plain_loops(kind, quirks, seed):
    rng = np.random.default_rng(seed)
    truth = np.column_stack([rng.uniform([5, -20, -2], [100, 20, 0], (20, 3)), rng.uniform(1, 6, (20, 3))])
    truth = np.column_stack([truth, rng.uniform(-7, 7, 20)])
    found = truth + rng.normal(0, 0.4, truth.shape)
    found[:, 3:6] = np.maximum(found[:, 3:6], 0.5)
    naive = [OVERLAP[kind, quirks](p, g) for p, g in zip(found, truth, strict=True)]
    tolerance = 1e-4 if quirks == "official" else 1e-11  # the original's float32
    assert overlap(kind, quirks, found, truth) == pytest.approx(naive, abs=tolerance)


def test_official_turns_boxes_the_other_way():
    one, other = np.array([car(20, 0, yaw=0.5)]), np.array([car(21, 1, yaw=0.5)])  # behind each other, on their heading
    mirrored = [np.array([car(x, -y, yaw=-0.5)]) for x, y in ((20, 0), (21, 1))]
    official, fixed = overlap("bev", "official", one, other), overlap("bev", "fixed", one, other)
    assert fixed[0] - official[0] > 0.1
    assert official[0] == pytest.approx(
        bev_iou(*[np.array([car(x, y, yaw=-0.5)]) for x, y in ((20, 0), (21, 1))])[0], abs=1e-6
    )
    assert bev_iou(*mirrored)[0] == pytest.approx(fixed[0], abs=1e-12)


def test_official_sinks_boxes_by_half_their_height():
    low, tall = np.array([car(20, 0, z=1, size=(4, 2, 1))]), np.array([car(20, 0, z=0, size=(4, 2, 2))])
    assert overlap("3d", "fixed", low, tall)[0] == pytest.approx(1 / 2)
    assert overlap("3d", "official", low, tall)[0] == pytest.approx((0.5 * 8) / (8 + 16 - 4))


def test_let_forgives_range_but_not_angle():
    truth = np.array([car(40, 10)])
    farther, aside = truth * [1.08, 1.08, 1, 1, 1, 1, 1], np.array([car(40, 12.5)])
    for quirks in QUIRKS:
        assert overlap("let", quirks, farther, truth)[0] > 0.99
        assert overlap("let", quirks, aside, truth)[0] == 0
        assert overlap("let", quirks, truth * [1.2, 1.2, 1, 1, 1, 1, 1], truth)[0] == 0
    assert overlap("bev", "fixed", farther, truth)[0] < 0.2


def test_let_measures_the_allowance_from_the_box_that_stays():
    near, far = np.array([car(40, 0)]), np.array([car(44.2, 0)])  # 4.2 m: more than a tenth of 40, less of 44.2
    assert overlap("let", "fixed", near, far)[0] > 0.99
    assert overlap("let", "official", near, far)[0] == 0
    assert overlap("let", "fixed", far, near)[0] == 0
    assert overlap("let", "official", far, near)[0] > 0.99
