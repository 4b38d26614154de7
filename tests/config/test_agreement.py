"""Sections that must agree: every configuration that comes with the project does, and messages read well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portbev.config import load_config
from portbev.config.agreement import apart, center_range, disagreement, intervals, shown, wider
from portbev.config.load import agreement

CONFIGS = Path(__file__).parents[2] / "configs"
SHIPPED = sorted(path for path in CONFIGS.rglob("*.yaml") if not path.name.startswith("_"))
NOTED = {"bevformer/tiny_fp16": ["model.quirks.visibility_lists", "model.quirks.temporal_concat"]}
"""Configurations with notes: this one has two samples a batch, as its original, and the quirks that mix them."""


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_shipped_configurations_agree(path: Path) -> None:
    notes = agreement(load_config(path))
    keys = NOTED.get(f"{path.parent.name}/{path.stem}", [])
    assert len(notes) == len(keys) and all(key in note for key, note in zip(keys, notes, strict=True))


@pytest.mark.parametrize(
    ("value", "text"),
    [((0, 1), "[0,1]"), (("CAM_FRONT",), "[CAM_FRONT]"), (51.2, "51.2"), (True, "true"), (None, "null"), (0, "0")],
)
def test_values_are_shown_as_the_command_line_takes_them(value: Any, text: str) -> None:
    assert shown(value) == text


def test_a_disagreement_names_keys_and_values_in_order() -> None:
    error = disagreement("they differ", {"model.a": (1.0, 2.0), "data.b": False}, "Set data.b=true")
    assert str(error) == "they differ (model.a=[1,2], data.b=false). Set data.b=true"


def test_ranges_are_compared_side_by_side_up_to_rounding() -> None:
    one = intervals((0.0, -1.0, -5.0, 10.0, 1.0, 3.0))
    assert one == ((0.0, 10.0), (-1.0, 1.0), (-5.0, 3.0))
    assert not wider(one, one) and not wider([(0.0, 10.000001)], [(0.0, 10.0)])
    assert wider([(0.0, 11.0)], [(0.0, 10.0)]) and wider([(-1.0, 5.0)], [(0.0, 10.0)])
    assert apart([(0.0, 1.0)], [(1.0, 2.0)]) and not apart([(0.0, 1.5)], [(1.0, 2.0)])
    assert center_range((-9, -9, -9, 9, 9, 9), [(-8.0, 8.0), (-8.0, 8.0)], {}) == []


@pytest.mark.parametrize("root", ["synthetic:?seed=1", "synthetic-radial:?frames=2", "synthetic:"])
def test_a_root_that_is_generated_keeps_its_name(root: str) -> None:
    assert load_config("echofusion/tiny_test", [f"data.root={root!r}"]).data.root == root
