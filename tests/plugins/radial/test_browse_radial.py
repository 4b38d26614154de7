"""What ``portbev data browse`` draws of RADIal samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portbev.data import build_dataset
from portbev.data.pictures.photometric import words
from portbev.data.pictures.pixels import swap_red_blue
from portbev_radial.browse import RadialBrowser, level_picture
from portbev_radial.browse import _camera as camera_of
from portbev_radial.config import RadialData
from portbev_radial.dataset import RadialDataset


def dataset(root: Path, part: str = "train", **values: Any) -> RadialDataset:
    return build_dataset(RadialData(**values), root, part, seed=0)  # type: ignore[arg-type, return-value]


def test_the_picture_without_augmentation_is_the_recorded_one_in_its_own_colours(recordings: Path) -> None:
    plain = dataset(recordings, augment=False)
    sample = plain.sample(0, 0)
    sample["calibration"]["dist"][:] = 0
    source = swap_red_blue(plain.source.picture(0)).astype(int)
    assert np.abs(camera_of(sample, plain).image.astype(int) - source).max() <= 1
    assert (source[..., 0] != source[..., 2]).any()


def test_what_is_written_is_what_was_drawn(recordings: Path) -> None:
    train = dataset(recordings)
    seen = RadialBrowser(train).seen(1, 3)
    drawn = train.draw_augmentation(train.source.picture(1).shape[:2], 1, 3)
    assert drawn.distortion is not None and seen.said[0] == f"picture: {words(drawn.distortion)}"
    assert "grid mask" in seen.said[1] and "radar input" in seen.said[2]
    assert not np.array_equal(seen.image, RadialBrowser(train).seen(1, 4).image)


@pytest.mark.parametrize("radar", ["adc", "rd", "ra", "pc", "none"])
@pytest.mark.parametrize("signal_on", ["loader", "device"])
def test_every_radar_input_can_be_looked_at(recordings: Path, radar: str, signal_on: str) -> None:
    train = dataset(recordings, radar=radar, signal_on=signal_on, camera=radar != "rd", augment=False)
    seen = RadialBrowser(train).seen(0, 0)
    assert seen.said[0] == "not augmented"
    assert any("radar input" in line for line in seen.said) == (radar in ("adc", "rd", "ra"))
    if (radar, signal_on) == ("pc", "loader"):
        assert f"{len(train.sample(0, 0)['radar'])} points of the radar" in seen.said[-1]  # type: ignore[arg-type]


def test_the_strongest_cell_of_a_map_is_the_brightest_with_near_ranges_below() -> None:
    content = np.ones((6, 4, 2, 2))
    content[1, 3] = 100.0
    picture = level_picture(content).astype(int).sum(-1)
    assert np.unravel_index(picture.argmax(), picture.shape) == (4, 3)
