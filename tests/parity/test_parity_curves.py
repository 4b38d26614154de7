"""Comparing losses bit for bit."""

from __future__ import annotations

import math

import numpy as np
import pytest
from handmade import losses

from portbev.parity.curves import compare_curves
from portbev.parity.runs import load_runs


def compared(make_run, curve, steps=60, **meta):
    baseline, run = load_runs([make_run("a"), make_run("b", curve=curve, steps=steps, meta=meta)])
    return compare_curves(run, baseline)


def test_equal_curves_are_bit_identical(make_run):
    found = compared(make_run, losses)
    assert found.identical and found.verdict == "bit-identical over 60 steps"
    assert all(term.identical and term.steps == 60 for term in found.terms)


@pytest.mark.parametrize("step", [1, 17, 60])
def test_one_ulp_in_one_term_is_found_at_its_step(make_run, step):
    def curve(at):
        found = losses(at)
        if at == step:
            found["depth"] = math.nextafter(found["depth"], math.inf)
        return found

    found = compared(make_run, curve)
    term = next(term for term in found.terms if term.term == "depth")
    assert not found.identical and found.first_step == step
    assert term.first_difference == pytest.approx(math.ulp(losses(step)["depth"]), rel=0)
    assert f"first difference at step {step}" in found.verdict and "in depth" in found.verdict
    assert all(other.identical for other in found.terms if other.term != "depth")


def test_largest_difference_and_its_step(make_run):
    def curve(at):
        return {**losses(at), "total": losses(at)["total"] + {10: 0.25, 40: -0.5}.get(at, 0.0)}

    term = next(term for term in compared(make_run, curve).terms if term.term == "total")
    assert term.first_step == 10 and term.first_difference == 0.25
    assert term.largest_step == 40 and term.largest_difference == 0.5


def test_negative_zero_is_not_zero_to_the_bit(make_run):
    a = make_run("a", curve=lambda step: {"total": 0.0})
    b = make_run("b", curve=lambda step: {"total": -0.0})
    baseline, run = load_runs([a, b])
    assert not compare_curves(run, baseline).identical


def test_nan_equals_nan_but_not_a_number(make_run):
    nan = {"curve": lambda step: {"total": math.nan}}
    a, b, c = load_runs([make_run("a", **nan), make_run("b", **nan), make_run("c", curve=lambda step: {"total": 1.0})])
    assert compare_curves(b, a).identical
    found = compare_curves(c, a)
    assert found.first_step == 1 and "not finite" in found.verdict


def test_shorter_run_is_compared_over_common_steps_and_said(make_run):
    found = compared(make_run, losses, steps=25)
    assert found.verdict == "bit-identical over 25 steps"
    assert any("25 steps in common" in remark for remark in found.remarks)


def test_no_common_steps_is_no_agreement(make_run):
    found = compared(make_run, losses, steps=0)
    assert not found.identical and "cannot be compared" in found.verdict


def test_a_term_of_one_run_only_prevents_identical(make_run):
    found = compared(make_run, lambda step: {**losses(step), "velocity": 1.0})
    assert not found.identical
    assert any("velocity" in remark for remark in found.remarks)


def test_float32_losses_survive_the_file_exactly(make_run):
    def curve(step):
        return {"total": float(np.float32(1) / np.float32(step))}

    a, b = load_runs([make_run("a", curve=curve), make_run("b", curve=curve)])
    assert compare_curves(b, a).identical
    assert a.scalars[2].losses["total"] == float(np.float32(1) / np.float32(3))
