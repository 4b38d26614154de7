"""EchoFusion's model section beside the others: what cannot be is refused with both values, what is odd is a note."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from echofusion_cases import RADAR, build, make_batch

from portbev.config import load_config
from portbev.config.load import agreement
from portbev.errors import ConfigError, DataError
from portbev_echofusion import head


def notes(*overrides: str) -> list[str]:
    return agreement(load_config("echofusion/tiny_test", overrides))


@pytest.mark.parametrize(
    ("overrides", "values", "cure"),
    [
        (["data.radar=rd"], "(data.radar=rd, model.radar.input=rt)", "Set data.radar=rt, or model.radar.input=rd"),
        (["data.radar=none"], "(data.radar=none, model.radar.input=rt)", "Set data.radar=rt"),
        (
            ["data.camera=false"],
            "(data.camera=false, model.camera=true)",
            "Set data.camera=true, or model.camera=false",
        ),
        (["data.x_range=[0,150]"], "data.x_range=[0,150]", "Set data.x_range=[0,103] data.y_range=[-103,103]"),
        (["data.x_range=[-5,103]"], "lie farther than the model places boxes", "raise model.polar.range_max"),
        (["model.polar.range_max=50"], "model.polar.range_max=50", "Set data.x_range=[0,50] data.y_range=[-50,50]"),
        (
            ["model.decode.center_range=[104,-103,-5,200,103,3]"],
            "(model.decode.center_range=[104,-103,-5,200,103,3], model.polar.range_max=103",
            "Set model.decode.center_range=[0,-51.5,-5,103,51.5,3]",
        ),
        (
            [f"model.radar.{x}" for x in ("samples=16", "chirps=4", "doppler_slots=4", "slots=[0,1]")],
            "(train.batch_size=1, model.radar.samples=16, model.radar.chirps=4)",
            "or larger maps of the radar",
        ),
        (
            ["model.radar.samples=16", "model.radar.azimuths=16", "model.radar.input=ra", "data.radar=ra"],
            "(train.batch_size=1, model.radar.samples=16, model.radar.azimuths=16)",
            "train.batch_size=2",
        ),
    ],
)
def test_sections_that_exclude_each_other_are_named_with_their_values(
    overrides: list[str], values: str, cure: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        notes(*overrides)
    assert values in str(refused.value) and cure in refused.value.cure


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model.camera=false"], "pictures are loaded that the model does not take"),
        (["data.x_range=[0,50]"], "outer part of the model's sector are not trained on"),
        (["data.y_range=[-20,20]"], "outer part of the model's sector are not trained on"),
        (["model.decode.center_range=[0,-103,-5,50,103,3]"], "are thrown away"),
        (["model.quirks=official", "train.batch_size=2"], "the calibration of its first one"),
        (
            ["model.camera=false", "data.camera=false", "model.radar.input=pc", "data.radar=pc"],
            "(model.radar.points.azimuth_range=[-75,75], model.polar.angle=60)",
        ),
    ],
)
def test_what_is_seldom_meant_is_a_note(overrides: list[str], said: str) -> None:
    (note,) = notes(*overrides)
    assert said in note


@pytest.mark.parametrize("wrong", ["data.x_range=[50,10]", "data.y_range=[3,3]", "data.std=[1,0,1]"])
def test_ranges_that_hold_nothing_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong.split("=", maxsplit=1)[0]):
        notes(wrong)


def test_what_fits_says_nothing() -> None:
    assert notes("train.batch_size=2") == notes("model.camera=false", "data.camera=false") == []


def test_a_radar_of_another_reach_or_size_is_named_with_the_keys_to_set() -> None:
    with pytest.raises(DataError, match=r"reaches 50 m, the model's maps 103 m.*Set model.polar.range_max=50"):
        build()(make_batch(1, description=replace(RADAR, range_max=50.0)))
    model = build(radar={"samples": 64})
    with pytest.raises(DataError, match=r"Set model.radar.samples=32, as the radar of the data"):
        model(make_batch(1))


def test_sizes_beyond_float32_are_decoded_without_a_warning() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (box,) = head.decode([[20, 2, 100, -200, 0, 0, 0, 1]], official=False)
    assert np.isposinf(box[3]) and box[4] == 0 and box[5] == 1
