"""Augmentation: the matrices must say what happens to pixels, points and boxes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from portbev.boxes import box_corners
from portbev.rng import generator
from portbev_nuscenes.config import BevAug, ImageAug
from portbev_nuscenes.samples import augment
from portbev_nuscenes.samples.images import normalise

FINAL = (64, 176)
SMALL = ImageAug(source_size=(112, 200), final_size=FINAL, resize=(0.8, 1.1))

transforms = st.builds(
    lambda seed, section: augment.draw_image(section, generator(seed, "test")), st.integers(0, 10**6), st.just(SMALL)
)
bev_transforms = st.builds(lambda seed: augment.draw_bev(BevAug(), generator(seed, "bev")), st.integers(0, 10**6))


@given(transforms, st.integers(0, 10**6))
def test_the_image_matrix_moves_a_spot_to_where_the_pixels_move_it(how: augment.ImageTransform, seed: int) -> None:
    u, v = generator(seed, "spot").uniform([20, 20], [180, 92])
    rows, columns = np.mgrid[:112, :200]
    spot = 255 * np.exp(-((columns + 0.5 - u) ** 2 + (rows + 0.5 - v) ** 2) / (2 * 2.5**2))
    image = Image.fromarray(spot.astype(np.uint8)).convert("RGB")
    seen = np.asarray(augment.transform_image(image, how, FINAL), np.float64)[..., 0]
    x, y = (augment.image_matrix(how, FINAL) @ [u, v, 0, 1])[:2]
    if not (10 < x < FINAL[1] - 10 and 10 < y < FINAL[0] - 10):
        return
    rows, columns = np.mgrid[: FINAL[0], : FINAL[1]]
    centre = [((grid + 0.5) * seen).sum() / seen.sum() for grid in (columns, rows)]
    # the resized size is rounded down to whole pixels, the rotation takes the nearest pixel
    np.testing.assert_allclose(centre, [x, y], atol=1.2)


@given(transforms)
def test_depth_points_land_where_the_image_matrix_says(how: augment.ImageTransform) -> None:
    rng = generator(how.size[0], "points")
    points = np.column_stack([rng.uniform(0, 200, 40), rng.uniform(0, 112, 40), rng.uniform(1, 60, 40)]).astype(
        np.float32
    )
    depth = augment.transform_depth(points, how, FINAL)
    expected = np.zeros(FINAL, np.float32)
    places = np.column_stack([points[:, :2], np.zeros(40), np.ones(40)]) @ augment.image_matrix(how, FINAL).T
    near_border = np.abs(places[:, :2] - np.round(places[:, :2])).min(1) < 1e-3
    for (x, y), d, unsure in zip(places[:, :2].astype(int), points[:, 2], near_border, strict=True):
        if 0 <= x < FINAL[1] and 0 <= y < FINAL[0] and not unsure:
            expected[y, x] = d
    assert (depth > 0).sum() >= (expected > 0).sum()
    np.testing.assert_array_equal(depth[expected > 0], expected[expected > 0])


def test_of_two_points_in_a_pixel_the_last_wins() -> None:
    points = np.array([[30.2, 40.1, 5.0], [30.4, 40.2, 50.0]], np.float32)
    how = augment.ImageTransform(1.0, (200, 112), (0, 0), False, 0.0)
    assert augment.transform_depth(points, how, FINAL)[40, 30] == 50


@given(transforms)
def test_an_image_comes_out_at_its_final_size(how: augment.ImageTransform) -> None:
    image = Image.new("RGB", (200, 112), (255, 255, 255))
    assert augment.transform_image(image, how, FINAL).size == (176, 64)


@pytest.mark.parametrize(
    ("source", "final"),
    [((900, 1600), (256, 704)), ((225, 400), (128, 352)), ((112, 200), (64, 176)), ((300, 700), (128, 352))],
)
def test_evaluation_fills_the_input(source: tuple[int, int], final: tuple[int, int]) -> None:
    how = augment.middle_image(ImageAug(source_size=source, final_size=final))
    white = Image.new("RGB", source[::-1], (255, 255, 255))
    assert np.asarray(augment.transform_image(white, how, final)).min() == 255
    assert not how.flip and how.rotate == 0


def test_no_flip_draws_nothing_for_it() -> None:
    fixed = SMALL.model_copy(update={"flip": False})
    assert not any(augment.draw_image(fixed, generator(seed, "x")).flip for seed in range(20))


@given(bev_transforms, st.integers(0, 10**6))
def test_augmented_boxes_have_the_augmented_corners(how: augment.BevTransform, seed: int) -> None:
    rng = generator(seed, "boxes")
    boxes = np.concatenate([rng.uniform(-50, 50, (5, 3)), rng.uniform(0.5, 5, (5, 3)), rng.uniform(-3, 3, (5, 3))], 1)
    matrix = augment.bev_matrix(how)[:3, :3]
    moved = augment.transform_bev_boxes(boxes, how)
    expected = box_corners(boxes) @ matrix.T
    for got, wanted in zip(box_corners(moved), expected, strict=True):
        distance = np.linalg.norm(got[:, None] - wanted[None], axis=-1)
        np.testing.assert_allclose(distance.min(1), 0, atol=1e-9)  # a mirror exchanges left and right
    front = box_corners(moved)[:, [0, 1, 4, 5]].mean(1)
    np.testing.assert_allclose(front, expected[:, [0, 1, 4, 5]].mean(1), atol=1e-9)
    np.testing.assert_allclose(moved[:, 7:9], boxes[:, 7:9] @ matrix[:2, :2].T, atol=1e-12)


def test_normalisation_takes_the_channels_as_the_original_does() -> None:
    pixels = np.zeros((2, 3, 3), np.uint8)
    pixels[..., 0] = 200  # red
    official, corrected = (
        normalise(pixels, SMALL.model_copy(update={"reverse_channels": flag})) for flag in (True, False)
    )
    red = lambda mean, std: (200 - mean) / std  # noqa: E731
    np.testing.assert_allclose(official[2], red(SMALL.mean[2], SMALL.std[2]), rtol=1e-6)
    np.testing.assert_allclose(corrected[0], red(SMALL.mean[0], SMALL.std[0]), rtol=1e-6)
    assert official.dtype == np.float32 and official.shape == (3, 2, 3)
