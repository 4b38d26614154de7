"""Pictures of a queue: normalised, scaled, padded, distorted, masked."""

from __future__ import annotations

import colorsys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portbev.data.pictures import pixels
from portbev.data.pictures.gridmask import draw_grid_mask
from portbev.data.pictures.photometric import BRIGHTNESS, HUE, Distortion, distort, draw_distortion
from portbev.rng import generator

MEAN, STD = (10.0, 20.0, 30.0), (2.0, 4.0, 5.0)
sizes = st.tuples(st.integers(4, 70), st.integers(4, 70))


def picture(size: tuple[int, int], seed: int = 0) -> Any:
    return generator(seed, "picture").uniform(1, 255, (*size, 3)).astype(np.float32)


def mean_of_four(image: Any) -> Any:
    height, width = image.shape[:2]
    return image.reshape(height // 2, 2, width // 2, 2, 3).mean((1, 3))


@given(sizes, st.integers(0, 9))
def test_every_channel_is_normalised_with_its_own_numbers(size: tuple[int, int], seed: int) -> None:
    image = picture(size, seed)
    before = image.copy()
    found = pixels.to_input(image, MEAN, STD, 1.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, (image - np.array(MEAN)) / STD, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(image, before)


def test_half_the_size_is_the_mean_of_four_pixels() -> None:
    image = picture((12, 20))
    found = pixels.to_input(image, (0, 0, 0), (1, 1, 1), 0.5)
    np.testing.assert_allclose(found, mean_of_four(image), rtol=1e-5)


@given(sizes, st.floats(0.2, 2), st.integers(1, 40))
def test_sizes_are_cut_then_padded_to_multiples(size: tuple[int, int], scale: float, divisor: int) -> None:
    scaled = pixels.scaled_size(size, scale)
    if min(scaled) > 0:
        assert pixels.to_input(picture(size), MEAN, STD, scale).shape == (*scaled, 3)
    for side, whole, padded in zip(size, scaled, pixels.padded_size(scaled, divisor), strict=True):
        assert whole <= side * scale < whole + 1
        assert padded % divisor == 0 and 0 <= padded - whole < divisor


def test_no_distortion_leaves_the_colours() -> None:
    image = picture((9, 11))
    np.testing.assert_allclose(distort(image, Distortion()), image, atol=1e-2)


def test_brightness_and_contrast_are_not_cut_to_the_range_of_pixels() -> None:
    image = picture((9, 11))
    first = distort(image, Distortion(brightness=30.0, contrast=1.5, contrast_first=True))
    np.testing.assert_allclose(first, (image + 30) * 1.5, atol=1e-2)
    assert first.max() > 300


def test_channels_take_their_new_order() -> None:
    image = picture((9, 11))
    np.testing.assert_allclose(distort(image, Distortion(channels=(2, 0, 1))), image[..., [2, 0, 1]], atol=1e-2)


@given(st.floats(0.5, 1.0), st.floats(-HUE, HUE), st.integers(0, 9))
def test_saturation_and_hue_are_those_of_hsv(saturation: float, hue: float, seed: int) -> None:
    image = picture((2, 3), seed)
    found = distort(image, Distortion(saturation=saturation, hue=hue))
    for before, after in zip(image.reshape(-1, 3), found.reshape(-1, 3), strict=True):
        h, s, v = colorsys.rgb_to_hsv(*before[::-1].astype(np.float64).tolist())
        expected = colorsys.hsv_to_rgb((h + hue / 360) % 1, s * saturation, v)
        np.testing.assert_allclose(after[::-1], expected, atol=2e-2)


def test_contrast_is_a_factor_once_whether_it_comes_first_or_last() -> None:
    image = picture((9, 11)) - np.float32(128)
    for first in (True, False):
        how = Distortion(contrast=0.5, contrast_first=first, saturation=1.4, hue=9.0)
        np.testing.assert_allclose(distort(image, how), distort(image, how._replace(contrast=1.0)) / 2, atol=1e-2)


def test_each_distortion_comes_half_of_the_time_within_its_bounds() -> None:
    drawn = [draw_distortion(generator(0, "draws", i)) for i in range(400)]
    for name in ("brightness", "contrast", "saturation", "hue", "contrast_first"):
        values = np.array([getattr(how, name) for how in drawn])
        changed = (values != getattr(Distortion(), name)).mean()
        assert 0.4 < changed < 0.6, name
    assert max(abs(how.brightness) for how in drawn) <= BRIGHTNESS and max(abs(how.hue) for how in drawn) <= HUE
    assert all(0.5 <= factor <= 1.5 for how in drawn for factor in (how.contrast, how.saturation))
    orders = [how.channels for how in drawn]
    assert len(set(orders)) == 6 and 0.45 < orders.count((0, 1, 2)) / 400 < 0.7


@given(sizes, st.integers(0, 10_000))
def test_a_mask_is_stripes_of_rows_and_columns(size: tuple[int, int], seed: int) -> None:
    mask = draw_grid_mask(size, generator(seed, "mask"))
    assert mask.shape == size and mask.dtype == bool
    rows, columns = mask.all(1), mask.all(0)
    np.testing.assert_array_equal(mask, rows[:, None] | columns[None, :])


def test_three_masks_of_ten_keep_all_and_the_others_about_three_quarters() -> None:
    shares = np.array([draw_grid_mask((48, 64), generator(i, "mask")).mean() for i in range(600)])
    whole = (shares == 1).mean()
    assert 0.25 < whole < 0.36
    assert 0.6 < shares[shares < 1].mean() < 0.85


def test_a_mask_has_as_many_stripes_as_whole_periods_in_one_and_a_half_sides() -> None:
    """Period 55: one stripe of 28 on the 96 rows around the picture's 64, two on the 144 columns around its 96."""

    class Fixed:
        choices = iter((53, 0, 3))

        def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
            return 0.7

        def choice(self, a: Any) -> Any:
            return next(self.choices)

    mask = draw_grid_mask((64, 96), Fixed())
    assert np.flatnonzero(mask.all(1)).tolist() == list(range(12))
    assert np.flatnonzero(mask.all(0)).tolist() == [*range(7), *range(34, 62)]


@pytest.mark.parametrize("kind", [np.random.RandomState, lambda seed: generator(seed, "any")])
def test_old_and_new_generators_both_serve(kind: Any) -> None:
    assert draw_distortion(kind(3)) == draw_distortion(kind(3))
    np.testing.assert_array_equal(draw_grid_mask((8, 9), kind(3)), draw_grid_mask((8, 9), kind(3)))
