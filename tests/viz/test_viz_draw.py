"""Pictures: what is drawn where."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from portbev.viz import draw_view
from portbev.viz.bev import RANGE, draw_bev, to_pixels
from portbev.viz.camera import draw_camera
from portbev.viz.palette import PAGE, Classes
from portbev.viz.scene import Camera, Objects, View

GREY = (90, 90, 90)
CLASSES = Classes.of(("car", "pedestrian"))
LAYOUT = (("CAM_FRONT_LEFT", "CAM_FRONT", "CAM_FRONT_RIGHT"), ("CAM_BACK_LEFT", "CAM_BACK", "CAM_BACK_RIGHT"))
CAR = 0
NOTHING = Objects(np.zeros((0, 9)), np.zeros(0, np.int64), np.zeros(0))


def objects(*boxes, labels=None, scores=None):
    rows = np.array(boxes, np.float64)
    labels = np.full(len(rows), CAR) if labels is None else np.array(labels)
    return Objects(rows, labels, np.ones(len(rows)) if scores is None else np.array(scores))


def box(x, y=0.0, z=0.0, yaw=0.0):
    return [x, y, z, 4.0, 2.0, 2.0, yaw, 0.0, 0.0]


def camera(channel="CAM_FRONT", facing=0.0):
    """A camera at the ego origin (which is the global one) that looks along ``facing`` radians."""
    cos, sin = np.cos(facing), np.sin(facing)
    turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = np.array([[0, -1.0, 0], [0, 0, -1.0], [1.0, 0, 0]]) @ turn
    intrinsic = np.array([[250.0, 0, 159.5], [0, 250.0, 89.5], [0, 0, 1]])
    return Camera(channel, np.full((180, 320, 3), GREY, np.uint8), intrinsic, matrix)


def view(truth=NOTHING, predictions=NOTHING):
    cameras = {"CAM_FRONT": camera(), "CAM_BACK": camera("CAM_BACK", np.pi)}
    return View("token", "scene-0001", cameras, LAYOUT, np.zeros((0, 3)), np.eye(4), truth, predictions, CLASSES)


def changed(image):
    return (np.abs(image.astype(int) - np.array(GREY)) > 12).any(-1)


def test_prediction_is_drawn_in_its_colour_at_its_edges_and_nowhere_else():
    picture = draw_camera(camera(), NOTHING, objects(box(10.0)), 320, CLASSES.colours)
    # The near face at 8 m: half size 250 / 8 = 31.25 pixels around (159.5, 89.5).
    left, right, top, bottom = 128, 191, 58, 121
    for v, u in ((90, left), (90, right), (top, 145), (bottom, 145)):
        patch = picture[v - 1 : v + 2, u - 1 : u + 2].reshape(-1, 3).astype(int)
        assert np.abs(patch - CLASSES.colours[CAR]).sum(1).min() < 60
    rows, columns = np.nonzero(changed(picture))
    assert rows.min() >= top - 4 and rows.max() <= bottom + 4
    assert columns.min() >= left - 4 and columns.max() <= right + 4


def test_wider_picture_draws_the_same_box_larger():
    small = changed(draw_camera(camera(), NOTHING, objects(box(10.0, y=2.0)), 320, CLASSES.colours))
    large = changed(draw_camera(camera(), NOTHING, objects(box(10.0, y=2.0)), 640, CLASSES.colours))
    centre = [np.mean([edge.min(), edge.max()]) for edge in np.nonzero(small)]
    doubled = [np.mean([edge.min(), edge.max()]) for edge in np.nonzero(large)]
    np.testing.assert_allclose(doubled, np.array(centre) * 2, atol=2.5)


def test_annotation_is_white():
    picture = draw_camera(camera(), objects(box(10.0)), NOTHING, 320, CLASSES.colours)
    drawn = picture[changed(picture)].astype(int)
    assert len(drawn) and (np.ptp(drawn, axis=1) <= 3).all() and drawn.max() > 200


def test_box_behind_the_camera_leaves_the_picture_as_it_was():
    picture = draw_camera(camera(), objects(box(-10.0)), objects(box(-10.0)), 320, CLASSES.colours)
    assert not changed(picture).any()


def test_box_around_the_camera_does_not_fail():
    assert changed(draw_camera(camera(), NOTHING, objects(box(0.5), box(1.9, yaw=0.7)), 320, CLASSES.colours)).any()


def test_from_above_forward_is_up_and_left_is_left():
    size = 200
    ahead, left = to_pixels(np.array([[10.0, 0], [0, 10.0]]), size)
    middle = (size - 1) / 2
    assert ahead[0] == middle and ahead[1] < middle
    assert left[1] == middle and left[0] < middle
    assert middle - ahead[1] == pytest.approx(10 * size / (2 * RANGE))


@pytest.mark.parametrize("yaw", [0.0, 0.5, -2.0])
def test_from_above_boxes_follow_the_ego_frame(yaw):
    size = 400
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(yaw), -np.sin(yaw)], [np.sin(yaw), np.cos(yaw)]]
    turn[:3, 3] = [500.0, -300.0, 2.0]
    at = turn @ [20.0, 15.0, 0.0, 1.0]
    seen = View("t", "s", {}, LAYOUT, np.zeros((0, 3)), np.linalg.inv(turn), NOTHING, NOTHING, CLASSES)
    empty = draw_bev(seen, NOTHING, NOTHING, size).astype(int)
    drawn = draw_bev(seen, NOTHING, objects([*at[:3], 4, 2, 2, yaw, 0, 0]), size).astype(int)
    rows, columns = np.nonzero(np.abs(drawn - empty).max(-1) > 20)
    u, v = to_pixels(np.array([20.0, 15.0]), size)
    assert rows.mean() == pytest.approx(v, abs=1) and columns.mean() == pytest.approx(u, abs=1)
    assert np.ptp(rows) > np.ptp(columns)  # 4 m along the driving direction, 2 m across


def test_score_threshold_leaves_out_and_draws_the_best_last():
    found = objects(box(10.0), box(20.0), box(30.0), scores=[0.9, 0.1, 0.5]).above(0.3)
    assert found.scores.tolist() == [0.5, 0.9]


def test_picture_is_laid_out_as_the_car_sees_and_missing_cameras_stay_dark():
    image = draw_view(view(predictions=objects(box(10.0), box(-10.0, yaw=np.pi), scores=[0.9, 0.8])), title="cpu")
    assert image.dtype == np.uint8 and image.ndim == 3
    front, back_left = image[100:300, 700:1000], image[450:600, 60:500]
    assert (np.abs(front.astype(int) - np.array(GREY)).max(-1) < 3).any()
    assert (back_left == PAGE).all(-1).any() and not (np.abs(back_left.astype(int) - np.array(GREY)).max(-1) < 3).all()


def test_unknown_velocity_and_no_boxes_are_drawn_without_complaint():
    row = np.array(box(10.0))
    row[7:] = np.nan
    assert draw_view(view(truth=objects(row))).any()
    assert draw_view(view()).any()


def test_same_view_same_pixels():
    content = view(truth=objects(box(12.0)), predictions=objects(box(11.0), box(30.0, 4.0)))
    np.testing.assert_array_equal(draw_view(content, title="a"), draw_view(content, title="a"))


def test_a_page_has_room_for_one_camera_or_for_three_rows():
    one = view(predictions=objects(box(10.0)))
    alone = draw_view(replace(one, layout=(("CAM_FRONT",),)))
    tall = draw_view(replace(one, layout=(("CAM_FRONT",), ("CAM_BACK",), ("elsewhere",))))
    assert alone.shape[0] < tall.shape[0] and alone.shape[1] < tall.shape[1]
    assert (np.abs(alone.astype(int) - np.array(GREY)).max(-1) < 3).any()


def test_classes_without_a_chosen_colour_take_one_in_turn_and_never_run_out():
    classes = Classes.of([f"class{n}" for n in range(25)], {"class3": (1, 2, 3)})
    assert classes.colours[3] == (1, 2, 3) and len(classes.colours) == 25
    assert len(set(classes.colours[:3] + classes.colours[4:10])) == 9
