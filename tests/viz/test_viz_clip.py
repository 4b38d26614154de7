"""What of a box a camera sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portbev.boxes import box_corners
from portbev.viz.camera import box_segments, front_face, heading_segment, scaled
from portbev.viz.clip import NEAR, clip_polygon, clip_segments, clip_to_rectangle, dashes

K = np.array([[500.0, 0, 320], [0, 500.0, 180], [0, 0, 1]])
SIZE = (640, 360)
EGO_TO_CAMERA = np.array([[0, -1.0, 0], [0, 0, -1.0], [1.0, 0, 0]])  # x forward -> z, y left -> -x, z up -> -y


def corners(x, y=0.0, z=0.0, length=4.0, width=2.0, height=2.0, yaw=0.0):
    return box_corners([[x, y, z, length, width, height, yaw, 0, 0]])[0] @ EGO_TO_CAMERA.T


def test_box_ahead_is_drawn_at_the_pixels_of_its_corners():
    # Faces at 8 m and 12 m, 2 m wide and high: half sizes 500 / 8 = 62.5 and 500 / 12 pixels around the centre.
    segments = box_segments(corners(10.0), K, SIZE)
    assert segments.shape == (12, 2, 2)
    ends = {tuple(np.round(point, 6)) for point in segments.reshape(-1, 2)}
    near, far = 500 / 8, 500 / 12
    expected = {(round(320 + a * h, 6), round(180 + b * h, 6)) for h in (near, far) for a in (-1, 1) for b in (-1, 1)}
    assert ends == expected


def test_front_of_an_oncoming_box_is_the_face_towards_the_camera():
    face = front_face(corners(10.0, yaw=np.pi), K)
    np.testing.assert_allclose(face.min(0), [320 - 62.5, 180 - 62.5], atol=1e-9)
    np.testing.assert_allclose(face.max(0), [320 + 62.5, 180 + 62.5], atol=1e-9)


def test_heading_points_to_the_front():
    away = heading_segment(corners(10.0, z=-1.0), K, SIZE)[0]
    oncoming = heading_segment(corners(10.0, z=-1.0, yaw=np.pi), K, SIZE)[0]
    np.testing.assert_allclose(away, [[320, 180 + 2 * 500 / 10], [320, 180 + 2 * 500 / 12]], atol=1e-9)
    np.testing.assert_allclose(oncoming[1], [320, 180 + 2 * 500 / 8], atol=1e-9)


@pytest.mark.parametrize("x", [-10.0, -2.0 - 1e-9])
def test_box_behind_draws_nothing(x):
    assert len(box_segments(corners(x), K, SIZE)) == 0
    assert len(heading_segment(corners(x), K, SIZE)) == 0
    assert len(front_face(corners(x), K)) == 0


def test_box_beside_the_picture_draws_nothing():
    assert len(box_segments(corners(10.0, y=30.0), K, SIZE)) == 0


def test_box_reaching_behind_the_camera_is_cut_not_mirrored():
    # A lorry beside the camera, from 6 m behind to 6 m ahead, 3 m to the left: all of it appears left of the centre.
    segments = box_segments(corners(0.0, y=3.0, length=12.0), K, SIZE)
    assert len(segments)
    assert (segments[..., 0] < 320).all()
    assert segments[..., 0].max() == pytest.approx(320 - 500 * 2 / 6)


@given(st.lists(st.tuples(*[st.floats(-50, 50)] * 6), min_size=1, max_size=8))
def test_cut_segments_lie_on_the_segments_in_front_of_the_plane(rows):
    whole = np.array(rows).reshape(-1, 2, 3)
    cut = clip_segments(whole)
    assert (cut[..., 2] >= NEAR - 1e-9).all()
    sources = whole[(whole[..., 2] >= NEAR).any(1)]
    assert len(cut) == len(sources)
    for part, source in zip(cut, sources, strict=True):
        for point in part:
            lengths = np.linalg.norm(point - source, axis=1).sum()
            assert lengths == pytest.approx(np.linalg.norm(source[1] - source[0]), abs=1e-6)


def test_polygon_cut_by_the_near_plane_keeps_its_front_part():
    square = np.array([[0.0, 0, -1], [1, 0, -1], [1, 0, 1], [0, 0, 1]])
    cut = clip_polygon(square, near=0.5)
    assert len(cut) == 4 and cut[:, 2].min() == 0.5 and cut[:, 2].max() == 1.0


@given(st.lists(st.tuples(*[st.floats(-1e7, 1e7)] * 4), min_size=1, max_size=8))
def test_segments_cut_to_the_picture_stay_in_it_and_on_their_line(rows):
    whole = np.array(rows).reshape(-1, 2, 2)
    for segment in whole:
        cut = clip_to_rectangle(segment[None], 100, 50, margin=0.0)
        steps = np.linspace(0, 1, 2001)[:, None]
        points = segment[0] + steps * (segment[1] - segment[0])
        inside = ((points > 1) & (points < [99, 49])).all(1).any()
        assert len(cut) == 1 if inside else True
        if len(cut):
            assert (cut > -1e-3).all() and (cut < np.array([100, 50]) + 1e-3).all()
            normal = np.array([segment[0, 1] - segment[1, 1], segment[1, 0] - segment[0, 0]])
            off = (cut[0] - segment[0]) @ normal / max(np.linalg.norm(normal), 1e-12)
            assert np.abs(off).max() < 1e-2


def test_dashes_cover_their_share_of_the_line():
    cut = dashes(np.array([[[0.0, 0], [0, 80]]]), 5, 3)
    lengths = np.linalg.norm(cut[:, 1] - cut[:, 0], axis=1)
    assert lengths.sum() == pytest.approx(50) and cut.max() <= 80


def test_intrinsics_of_a_resized_picture_keep_pixel_centres():
    half = scaled(K, 0.5)
    point = np.array([0.3, -0.2, 4.0])
    full_pixel = (K @ point / point[2])[:2]
    half_pixel = (half @ point / point[2])[:2]
    np.testing.assert_allclose(half_pixel, (full_pixel + 0.5) * 0.5 - 0.5)
