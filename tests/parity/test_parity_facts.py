"""Facts that bisection decides by: significant bits, arguments that are the same however they are written."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from portbev.parity.dumps.arguments import same_arguments
from portbev.parity.dumps.sketch import Sketch, sketch
from portbev.recording.modules import module_settings


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3))
def test_numbers_that_were_rounded_have_no_more_bits_than_their_format(seed: int, scale: float) -> None:
    x = torch.randn(37, 29, generator=torch.Generator().manual_seed(seed)) * scale
    assert sketch(x).bits == 24 and sketch(x.double()).bits == 24
    assert sketch(x.bfloat16().float()).bits == 8
    assert sketch(x.half().float()).bits in (10, 11)
    assert sketch(x.t()).bits == 24, "whatever the layout"


def test_too_few_numbers_say_nothing() -> None:
    x = torch.zeros(100)
    x[:15] = torch.rand(15)
    assert sketch(x).bits is None and sketch(torch.arange(100)).bits is None


def test_bits_are_kept_in_the_file() -> None:
    made = sketch(torch.rand(5, 7))
    assert Sketch.from_json(made.as_json()) == made


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("((T, (32,)), {weight=T, bias=T, eps=1e-05})", "((T, (32,), T, T, 1e-05), {})", True),
        ("((T), {size=(4, 8), mode='nearest', align_corners=None})", "((T, (4, 8)), {mode='nearest'})", True),
        ("((T, (32,)), {weight=T, bias=T, eps=1e-05})", "((T, (32,)), {weight=T, bias=T, eps=1e-06})", False),
        ("((T, (32,)), {weight=T, bias=T})", "((T, (32,)), {})", False),
        ("((T, 0, 2, 1), {})", "((T, 1, 2, 0), {})", False),
        ("((T, True), {})", "((T), {training=False})", False),
    ],
)
def test_a_call_is_the_same_by_place_and_by_name(one: str, other: str, same: bool) -> None:
    assert same_arguments(one, other) is same and same_arguments(other, one) is same


def test_settings_of_modules_are_read_and_those_alike_are_one_entry() -> None:
    model = nn.Sequential(nn.BatchNorm2d(2), nn.BatchNorm2d(2), nn.BatchNorm2d(2, momentum=0.2), nn.ReLU(inplace=True))
    found = {tuple(entry["modules"]): entry for entry in module_settings(model)}
    assert found["0", "1"]["settings"]["momentum"] == 0.1 and found["2",]["settings"]["momentum"] == 0.2
    assert found["3",]["class"] == "ReLU" and "inplace" not in found["3",]["settings"], (
        "another way is no other setting"
    )
