"""Rotation of the BEV and decoding of boxes against the original's recorded vectors (``ops.npz`` of each case)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bevformer_recipe import Recipe, load_recipe
from numpy.typing import NDArray

from portbev.nn.detr import best_queries, within
from portbev_bevformer import head, history

pytestmark = pytest.mark.reference

Arrays = dict[str, NDArray[Any]]


@pytest.fixture(scope="module")
def recorded(bevformer_case: Path) -> Arrays:
    path = bevformer_case / "ops.npz"
    if not path.is_file():
        pytest.skip(f"{bevformer_case.name} has no ops.npz")
    with np.load(path) as stored:
        return {name: stored[name] for name in stored}


@pytest.fixture(scope="module")
def recipe(bevformer_case: Path) -> Recipe:
    return load_recipe(bevformer_case)


@pytest.fixture(scope="module")
def seed(bevformer_case: Path) -> str:
    return str(json.loads((bevformer_case / "case.json").read_text())["seed"])


def test_maps_are_turned_as_torchvision_turns_them(recorded: Arrays, recipe: Recipe, seed: str) -> None:
    """Exactly: the nearest cell is copied. Names are rot_<degrees>_<centre of both axes>."""
    names = [name for name in recorded if name.startswith("rot_")]
    assert names
    for name in names:
        _, degrees, center = name.split("_")
        size = recorded[name].shape
        first = recipe.noise(seed, "op/rot_in", (4, *size)).astype(np.float32)[0].reshape(-1)
        source = history.rotation_source((size[0], size[1]), float(degrees), (float(center), float(center)))
        turned = np.where(source >= 0, first[source], 0).reshape(size)
        np.testing.assert_array_equal(turned, recorded[name], err_msg=name)


def test_boxes_are_decoded_as_by_the_original_coder(recorded: Arrays, recipe: Recipe, seed: str) -> None:
    if "dec_boxes" not in recorded:
        pytest.skip("no decoding is recorded")
    logits = torch.from_numpy(recipe.noise(seed, "op/dec_cls", (1, 1, 30, 10)).astype(np.float32))[0, 0]
    raw = recipe.noise(seed, "op/dec_box", (1, 1, 30, 10))
    raw[..., :2] *= 40
    codes = torch.from_numpy(raw.astype(np.float32))[0, 0]
    scores, index = best_queries(logits, 20)
    rows = codes[index // 10]
    keep = within(rows, (-61.2, -61.2, -10.0, 61.2, 61.2, 10.0))
    boxes = head.decode(rows[keep].numpy())
    assert np.array_equal((index % 10)[keep].numpy(), recorded["dec_labels"])
    np.testing.assert_allclose(scores[keep].numpy(), recorded["dec_scores"], atol=1e-6)
    theirs = recorded["dec_boxes"].astype(np.float64)
    heading = np.angle(np.exp(1j * (-boxes[:, 6].astype(np.float64) - np.pi / 2 - theirs[:, 6])))
    np.testing.assert_allclose(boxes[:, [0, 1, 2, 4, 3, 5, 7, 8]], theirs[:, [0, 1, 2, 3, 4, 5, 7, 8]], rtol=1e-5)
    assert np.abs(heading).max() <= 1e-5
