"""Loss curves against control runs: rounding that grows is no fault, and a fault is no rounding."""

from __future__ import annotations

import math
import random

import pytest
from handmade import NPU
from test_parity_cli import assert_one_line, portbev

from portbev.errors import PortbevError
from portbev.parity import build_report
from portbev.parity.bands import ALLOWANCE
from portbev.parity.evidence import read_evidence

GROWTH = 1.2


def grown(start, seed, fault=lambda step: 0.0):
    """Losses of a training in which a relative difference of ``start`` grows until it is as large as training noise."""

    def curve(step):
        coin = random.Random(1000 * seed + step)
        size = min(start * GROWTH**step, 0.02) * coin.uniform(0.3, 1) * coin.choice([-1, 1])
        total = (3 / math.sqrt(step)) * (1 + size + fault(step))
        return {"total": total, "depth": 0.5 * total}

    return curve


@pytest.fixture
def base(make_run):
    return make_run("cpu", curve=grown(0.0, 0))


@pytest.fixture
def controls(make_run):
    return [
        make_run(f"control{k}", meta={"init": f"weights{k}.safetensors"}, curve=grown(1e-7, k)) for k in range(1, 5)
    ]


def band(base, run, controls):
    (curve,) = build_report([base, run], controls=controls).groups[0].curves
    return curve.band


def test_a_device_that_rounds_a_few_times_more_is_within_rounding(base, make_run, controls):
    found = band(base, make_run("npu", meta=NPU, curve=grown(4e-7, 9)), controls)
    assert (found.verdict, found.first_step, found.controls) == (
        "within rounding",
        None,
        [f"control{k}" for k in range(1, 5)],
    )
    total = found.terms[0]
    assert 0 < total.largest < 1 and total.growth == pytest.approx(GROWTH, rel=0.1)
    assert total.control_growth == pytest.approx(GROWTH, rel=0.1) and len(total.steps) == len(total.limits) == 60


@pytest.mark.parametrize(
    ("fault", "first"),
    [(lambda step: 1e-3, 1), (lambda step: 1e-3 * (step >= 20), 20), (lambda step: 2e-5 * step, 1)],
    ids=["from the start", "from step 20", "slowly growing"],
)
def test_a_fault_leaves_the_band_at_its_first_step(base, make_run, controls, fault, first):
    run = make_run("npu", meta=NPU, curve=grown(1e-7, 9, fault))
    report = build_report([base, run], controls=controls, require=["within-rounding"])
    found = report.groups[0].curves[0].band
    assert (found.verdict, found.first_step) == ("outside", first)
    assert f"from step {first} on" in found.says and "one device in 5" in found.says
    assert report.groups[0].verdicts[0].losses == "outside" and not report.gate.passed


def test_within_rounding_passes_the_gate(base, make_run, controls):
    run = make_run("npu", meta=NPU, curve=grown(4e-7, 9))
    assert build_report([base, run], controls=controls, require=["within-rounding"]).gate.passed


def test_few_control_runs_show_no_fault(base, make_run, controls):
    found = band(base, make_run("npu", meta=NPU, curve=grown(1e-7, 9, lambda step: 1e-3)), controls[:2])
    assert found.verdict == "not judged" and "fewer than 3" in found.says


def test_a_loss_that_is_not_finite_is_outside(base, make_run, controls):
    curve = grown(1e-7, 9)
    run = make_run("npu", meta=NPU, curve=lambda step: {**curve(step), **({"depth": math.nan} if step == 7 else {})})
    lines = (run / "scalars.jsonl").read_text().replace("NaN", "null")
    (run / "scalars.jsonl").write_text(lines)
    found = band(base, run, controls)
    assert (found.verdict, found.first_step, found.first_term) == ("outside", 7, "depth")


def test_the_allowance_is_what_the_documentation_says():
    assert ALLOWANCE == 16


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"meta": {}}, "no other first weights"),
        ({"meta": {"init": "w", **NPU}}, "label"),
        ({"meta": {"init": "w"}, "sets": ["train.seed=3"]}, "seed"),
        ({"meta": {"init": "w"}, "sets": ["optimizer.lr=0.5"]}, "experiment"),
        ({"meta": {"init": "w"}, "sets": ["compute.amp=bf16"]}, "compute.amp"),
    ],
)
def test_what_is_no_control_run_is_refused_with_the_reason(base, make_run, changes, why):
    other = make_run("other", **changes)
    with pytest.raises(PortbevError, match="is no control run") as caught:
        build_report([base], controls=[other])
    assert why in str(caught.value) and "\n" not in str(caught.value)


def test_control_runs_may_be_shorter(base, make_run, controls):
    short = [
        make_run(f"short{k}", meta={"init": f"s{k}"}, sets=["train.max_steps=20"], steps=20, curve=grown(1e-7, k))
        for k in range(3)
    ]
    found = band(base, make_run("npu", meta=NPU, curve=grown(4e-7, 9)), short)
    assert found.verdict == "within rounding" and found.terms[0].steps[-1] == 20


def test_curves_command_says_verdict_and_writes_evidence(base, make_run, controls, tmp_path):
    run = make_run("npu", meta=NPU, curve=grown(1e-7, 9, lambda step: 1e-3))
    options = [word for control in controls for word in ("--controls", control)]
    done = portbev("parity", "curves", base, run, *options, "--out", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert "outside the band of 4 control runs from step 1 on" in done.stdout
    one = read_evidence(tmp_path / "out" / "curves.json")
    assert (one.verdict, one.emulated, one.backend) == ("outside", True, "npu (emulated)")
    text = (tmp_path / "out" / "curves.json").read_text()
    (tmp_path / "out" / "curves.json").write_text(text.replace('"outside"', '"within rounding"'))
    with pytest.raises(PortbevError, match="edited"):
        read_evidence(tmp_path / "out" / "curves.json")


def test_curves_of_other_seeds_or_experiments_are_refused(base, make_run):
    other = make_run("seed", sets=["train.seed=1"])
    assert_one_line(portbev("parity", "curves", base, other), "Compare runs of the same seed")
    assert_one_line(
        portbev("parity", "curves", base, make_run("lr", sets=["optimizer.lr=0.5"])), "not of one experiment"
    )
    assert_one_line(portbev("parity", "curves", base, other, "--make", 2), "--make", "--out")


def test_curves_without_controls_are_not_judged(base, make_run):
    done = portbev("parity", "curves", base, make_run("npu", meta=NPU, curve=grown(1e-7, 9)))
    assert done.returncode == 0 and "is not judged" in done.stdout
