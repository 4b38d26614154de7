"""The data pipeline against numbers recorded from the original (``pipeline.npz`` of each case).

Gates: masks, sizes and padding exactly; matrices to rounding in float64; pixels of the distortion to 2e-3 (of up to
about 400) and those of the input to 1e-4 before division by std. The original's OpenCV is another release, whose
float32 sums and conversions may be ordered otherwise: a few units in the last place of values of some hundreds, 3e-5,
through each of about ten steps; a wrong draw or step is off by more than 1.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bevformer_recipe import Recipe, load_recipe
from numpy.typing import NDArray

from portbev.data.pictures import photometric, pixels
from portbev.data.pictures.gridmask import draw_grid_mask
from portbev_nuscenes.samples import can_bus

pytestmark = pytest.mark.reference

# scale, mean and std in the order of the network's channels, whether they are BGR
MODELS = {
    "tiny": (0.5, (123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "small": (0.8, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0), True),
    "base": (1.0, (103.53, 116.28, 123.675), (1.0, 1.0, 1.0), True),
}
SHAPE = (64, 96)

Arrays = dict[str, NDArray[Any]]
Case = dict[str, Any]


@pytest.fixture(scope="module")
def recorded(bevformer_case: Path) -> Arrays:
    path = bevformer_case / "pipeline.npz"
    if not path.is_file():
        pytest.skip(f"{bevformer_case.name} has no pipeline.npz")
    with np.load(path) as stored:
        return {name: stored[name] for name in stored}


@pytest.fixture(scope="module")
def recipe(bevformer_case: Path) -> Recipe:
    return load_recipe(bevformer_case)


@pytest.fixture(scope="module")
def case(bevformer_case: Path) -> Case:
    return json.loads((bevformer_case / "case.json").read_text())


def seeds(recorded: Arrays, name: str) -> list[int]:
    found = sorted(int(key.removeprefix(f"{name}_seed")) for key in recorded if key.startswith(f"{name}_seed"))
    assert found, f"no {name} recorded"
    return found


@pytest.mark.parametrize("model", MODELS)
def test_pictures_are_normalised_scaled_and_padded(recorded: Arrays, model: str) -> None:
    scale, mean, std, bgr = MODELS[model]
    expected = recorded[f"out_{model}"]
    for raw, other in zip(recorded["raw_uint8"], expected, strict=True):
        ours = pixels.to_input(raw.astype(np.float32), mean, std, scale, swap=not bgr)
        height, width = ours.shape[:2]
        assert (height, width) == pixels.scaled_size(raw.shape[:2], scale)
        assert other.shape[:2] == pixels.padded_size((height, width), 32)
        np.testing.assert_allclose(ours, other[:height, :width], rtol=0, atol=1e-4 / min(std))
        assert not other[height:].any() and not other[:, width:].any()  # padded after the normalisation
    shapes = recorded[f"img_shape_{model}"]
    np.testing.assert_array_equal(shapes, [list(expected.shape[1:])] * len(shapes))


@pytest.mark.parametrize("model", MODELS)
def test_projections_are_scaled_with_the_pictures(recorded: Arrays, recipe: Recipe, case: Case, model: str) -> None:
    source = recipe.lidar2img(case)
    expected = recorded[f"lidar2img_{model}"]
    ours = pixels.scale_matrix(MODELS[model][0]) @ source[: len(expected)]
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-12)


def test_photometric_distortion_draws_and_colours(recorded: Arrays) -> None:
    for seed in seeds(recorded, "photometric"):
        rng = np.random.RandomState(seed)
        ours = [
            photometric.distort(raw.astype(np.float32), photometric.draw_distortion(rng))[::3, ::3]
            for raw in recorded["raw_uint8"]
        ]
        np.testing.assert_allclose(ours, recorded[f"photometric_seed{seed}"], rtol=0, atol=2e-3, err_msg=f"seed {seed}")


def test_grid_masks(recorded: Arrays) -> None:
    kept = set()
    for seed in seeds(recorded, "gridmask"):
        mask = draw_grid_mask(SHAPE, np.random.RandomState(seed))
        np.testing.assert_array_equal(np.packbits(mask), recorded[f"gridmask_seed{seed}"], err_msg=f"seed {seed}")
        kept.add(float(mask.mean()))
    assert len(kept) > 1


def test_can_bus_vectors_of_a_queue(case: Case, recipe: Recipe) -> None:
    frames = case["frames"]
    absolute = np.stack([recipe.can_bus_abs(frame) for frame in frames])
    motion = [[*frame["accel"], *frame["rot_rate"], *frame["vel"]] for frame in frames]
    ours = can_bus.absolute(absolute[:, :3], absolute[:, 3:7], motion)
    np.testing.assert_allclose(ours, absolute, rtol=1e-12, atol=1e-12)
    continues = np.array([False, *[True] * (len(frames) - 1)])
    expected = [recipe.can_bus_rel(before, frame) for before, frame in zip([None, *frames], frames, strict=False)]
    np.testing.assert_allclose(can_bus.relative(ours, continues), expected, rtol=1e-9, atol=1e-9)
