"""The statistics by simulation: false verdicts are as rare and true ones as frequent as the report says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from portbev.parity.judging import Question, answer
from portbev.parity.published import load_published
from portbev.parity.recorded import judge_published
from portbev.parity.statistics import (
    Plan,
    caution,
    equivalence_power,
    holm,
    known_spread,
    least_power,
    paired,
    pooled,
    runs_needed,
    welch,
)
from portbev.parity.statistics.noise import KINDS, MOST, draw
from portbev.parity.verdicts import Judgement

MARGIN, ALPHA, TIMES = 0.005, 0.05, 8000
CHANCE = 3 * math.sqrt(ALPHA * (1 - ALPHA) / TIMES)  # of a rate over so many experiments


def noise(kind: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Of standard deviation 1: normal, or with heavier tails; other draws than those of the plans."""
    return draw(kind, shape, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", ["normal", "t5", "t3", "laplace"])
@pytest.mark.parametrize("runs", [2, 5, 10])
@pytest.mark.parametrize("test", [paired, welch])
def test_devices_that_differ_by_the_margin_are_called_equivalent_at_most_as_often_as_alpha(test, runs, kind):
    for spread, difference in ((0.001, MARGIN), (0.001, -MARGIN), (0.003, MARGIN)):
        side = difference + spread * noise(kind, (TIMES, runs), 1)
        outcome = test(side, spread * noise(kind, (TIMES, runs), 2), MARGIN, ALPHA)
        assert (outcome.p_equivalent < ALPHA).mean() <= ALPHA + CHANCE


@pytest.mark.parametrize("kind", ["normal", "t3"])
def test_the_same_seeds_on_both_sides_are_no_way_around_alpha(kind):
    shared = noise(kind, (TIMES, 5), 3)  # what a seed does to both
    side, baseline = (0.002 * shared + 0.001 * noise(kind, (TIMES, 5), seed) for seed in (4, 5))
    outcome = paired(side + MARGIN, baseline, MARGIN, ALPHA)
    assert (outcome.p_equivalent < ALPHA).mean() <= ALPHA + CHANCE


def test_single_runs_with_a_known_spread_are_called_equivalent_at_most_as_often_as_alpha():
    side, baseline = (0.001 * noise("normal", (TIMES, 1), seed) for seed in (6, 7))
    rate = (known_spread(side + MARGIN, baseline, 0.001, MARGIN, ALPHA).p_equivalent < ALPHA).mean()
    assert ALPHA - CHANCE <= rate <= ALPHA + CHANCE


@pytest.mark.parametrize("test", [paired, welch])
def test_equal_devices_are_called_different_at_most_as_often_as_alpha(test):
    for kind in ("normal", "t3"):
        outcome = test(noise(kind, (TIMES, 5), 8), noise(kind, (TIMES, 5), 9), MARGIN, ALPHA)
        assert (outcome.p_different < ALPHA).mean() <= ALPHA + CHANCE


@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize("design", ["paired", "welch"])
@pytest.mark.parametrize("spread", [0.0008, 0.002, 0.004, 0.008])
def test_the_planned_number_of_runs_reaches_the_planned_power_and_one_less_does_not(spread, design, power):
    plan = Plan(MARGIN, ALPHA, power)
    runs = runs_needed(spread, design, plan)
    assert runs is not None
    assert least_power(spread, design, (runs, runs), MARGIN, ALPHA) >= power
    assert runs == 2 or least_power(spread, design, (runs - 1, runs - 1), MARGIN, ALPHA) < power
    for kind in KINDS:
        side, baseline = (spread * noise(kind, (TIMES, runs), seed) for seed in (10, 11))
        outcome = paired(side, 0 * side, MARGIN, ALPHA) if design == "paired" else welch(side, baseline, MARGIN, ALPHA)
        assert (outcome.p_equivalent < ALPHA).mean() >= power - chance(power, TIMES)


def chance(rate: float, times: int) -> float:
    """Of a rate over so many experiments: three standard deviations."""
    return 3 * math.sqrt(rate * (1 - rate) / times)


@pytest.mark.parametrize("runs", [(2, 2), (3, 8), (5, 5), (12, 12)])
def test_the_stated_power_is_the_share_of_experiments_that_find_equality(runs):
    spread = 0.0015
    for design, test in (("paired", paired), ("welch", welch)):
        n, m = (runs[0], runs[0]) if design == "paired" else runs
        shares = []
        for kind in KINDS:
            side, baseline = spread * noise(kind, (TIMES, n), 12), spread * noise(kind, (TIMES, m), 13)
            outcome = test(side, 0 * side if design == "paired" else baseline, MARGIN, ALPHA)
            shares.append((outcome.p_equivalent < ALPHA).mean())
        assert shares[0] == pytest.approx(equivalence_power(spread, design, (n, m), MARGIN, ALPHA), abs=0.02)
        assert min(shares) == pytest.approx(least_power(spread, design, (n, m), MARGIN, ALPHA), abs=0.02)


def test_beyond_the_runs_that_are_simulated_heavy_tails_take_little_power():
    for spread in (0.008, 0.009):
        said = equivalence_power(spread, "welch", (MOST + 1, MOST + 1), MARGIN, ALPHA)
        for kind in KINDS:
            side, baseline = (spread * noise(kind, (TIMES, MOST + 1), seed) for seed in (23, 24))
            found = (welch(side, baseline, MARGIN, ALPHA).p_equivalent < ALPHA).mean()
            assert found >= said - 0.01 - chance(said, TIMES)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize(("design", "pilot"), [("paired", 5), ("welch", 3), ("welch", 5)])
def test_a_plan_from_the_spread_of_a_few_runs_has_its_power_on_average(design, pilot, power, kind):
    """Each experiment plans from its own first runs, then makes what is missing, and judges all."""
    spread, times, most = 0.006, 1500, 1000
    sides = [spread * noise(kind, (times, most), seed) for seed in ((25, 26) if design == "welch" else (25,))]
    seen = np.sqrt(np.mean([side[:, :pilot].var(axis=1, ddof=1) for side in sides], axis=0))
    planned = seen * caution(design, (pilot, pilot), ALPHA, power)
    steps = np.geomspace(0.0005, 0.05, 60)
    needed = [runs_needed(step, design, Plan(MARGIN, ALPHA, power)) or most for step in steps]
    runs = np.clip(np.floor(np.interp(planned, steps, needed)), pilot, most).astype(int)
    estimate, error, freedom = summary(sides, runs)
    found = (MARGIN - np.abs(estimate)) / error > stats.t.isf(ALPHA, freedom)
    assert found.mean() >= power - chance(power, times)


def summary(sides, runs):
    """Difference of the means of the first ``runs`` of each experiment, its standard error, and degrees of freedom."""
    last = np.arange(len(runs)), runs - 1
    means = [side.cumsum(axis=1)[last] / runs for side in sides]
    squares = [
        ((side**2).cumsum(axis=1)[last] - runs * mean**2) / (runs - 1) / runs
        for side, mean in zip(sides, means, strict=True)
    ]
    freedom = sum(squares) ** 2 / sum(square**2 / (runs - 1) for square in squares)
    return means[0] - (means[1] if len(means) == 2 else 0), np.sqrt(sum(squares)), freedom


@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize("kind", ["normal", "t3"])
def test_the_seeds_that_an_undecided_report_asks_for_find_equality_as_often_as_it_says(kind, power):
    """Five seeds, the report's own number of further ones, and all of them judged: two looks, declared before."""
    spread, pilots = 0.004, 120
    first, found, wrong = noise(kind, (pilots, 2, 5), 14) * spread, [], []
    judgement = Judgement(looks=2, power=power)
    for number, (side, baseline) in enumerate(first):
        for difference, kept in ((0.0, found), (MARGIN, wrong)):
            (one,) = answer([question(side + difference, baseline)], judgement)
            if one.verdict == "undecided" and one.more_runs:
                more = spread * noise(kind, (2, min(one.more_runs, 400)), 1000 + number)
                both = np.concatenate([side, more[0]]) + difference, np.concatenate([baseline, more[1]])
                (one,) = answer([question(*both)], judgement)
            kept.append(one.verdict == "equivalent")
    assert np.mean(found) >= power - chance(power, pilots)
    assert np.mean(wrong) <= ALPHA + chance(ALPHA, pilots)


def question(side, baseline, **changes):
    facts = {
        "kind": "accuracy", "key": "mean_ap", "name": "mAP", "side": "npu", "baseline": "gpu", "margin": MARGIN,
        "values": dict(enumerate(map(float, side))), "baseline_values": dict(enumerate(map(float, baseline))),
    }  # fmt: skip
    return Question(**{**facts, **changes})


def test_published_rows_of_one_run_each_are_undecided_with_the_number_of_runs_that_it_takes():
    found = judge_published(load_published("matrixvt_ascend_modelzoo"), Judgement())
    assert found is not None
    mean_ap, nds = found.comparisons
    assert [one.verdict for one in (mean_ap, nds)] == ["undecided", "undecided"]
    assert mean_ap.estimate == pytest.approx(0.3265 - 0.3322) and nds.estimate == pytest.approx(0.4097 - 0.4137)
    for one, spread in ((mean_ap, 0.004), (nds, 0.005)):
        assert one.runs_needed == runs_needed(spread, "welch", Plan(MARGIN, ALPHA, 0.8))
        assert one.more_runs == one.runs_needed - 1 and f"{one.more_runs} more seeds" in one.says
        assert one.low < -MARGIN < one.high


def test_a_single_run_against_many_can_show_a_difference_but_not_equality():
    baseline = 0.3 + 0.001 * noise("normal", (5,), 15)
    (same,) = answer([question([0.3], baseline)], Judgement())
    (other,) = answer([question([0.25], baseline)], Judgement())
    assert (same.test, same.verdict, other.verdict) == ("pooled", "undecided", "different")
    assert "one run cannot show equality" in same.says and same.more_runs
    assert pooled([0.3], baseline, MARGIN, ALPHA).freedom == 4


def test_single_runs_without_a_known_spread_are_undecided_and_it_is_said_what_to_do():
    (one,) = answer([question([0.3], [0.3])], Judgement())
    assert (one.test, one.verdict, one.more_runs) == ("none", "undecided", None)
    assert "declare a spread" in one.says


def test_a_score_that_is_the_same_in_all_runs_shows_nothing():
    (one,) = answer([question([0.0] * 5, [0.0] * 5)], Judgement())
    assert one.verdict == "undecided" and "cannot show a difference" in one.says


def test_a_difference_that_is_sure_but_small_is_equivalent_and_a_large_one_is_different():
    base = 0.3 + 0.0002 * noise("normal", (6,), 16)
    jitter = 0.00002 * noise("normal", (6,), 17)
    small, large = (answer([question(base + shift + jitter, base)], Judgement())[0] for shift in (0.001, 0.02))
    assert small.verdict == "equivalent" and "though not equal" in small.says
    assert large.verdict == "different" and "by more than ±0.005" in large.says


def test_without_a_margin_only_a_difference_can_be_found():
    base = 0.5 + 0.01 * noise("normal", (5,), 18)
    (one,) = answer([question(base + 0.001 * noise("normal", (5,), 19), base, margin=None)], Judgement())
    assert one.verdict == "undecided" and "no margin is declared" in one.says and one.p_equivalent is None


def test_looks_share_alpha_so_that_adding_seeds_until_it_fits_is_no_way_around():
    side, baseline = 0.3 + 0.001 * noise("normal", (2, 5), 20)
    once, often = (answer([question(side, baseline)], Judgement(looks=looks))[0] for looks in (1, 4))
    assert often.high - often.low > once.high - once.low
    assert once.confidence == pytest.approx(0.9) and often.confidence == pytest.approx(0.975)


def test_classes_are_corrected_for_each_other_and_their_intervals_say_so():
    rows = 0.3 + 0.001 * noise("normal", (10, 2, 5), 21)
    many = answer([question(a, b, kind="class", key=str(k)) for k, (a, b) in enumerate(rows)], Judgement())
    alone = [answer([question(a, b, kind="class")], Judgement())[0] for a, b in rows]
    for one, single in zip(many, alone, strict=True):
        assert one.compared_together == 10 and one.high - one.low > single.high - single.low
        assert one.p_equivalent == pytest.approx(min(1, 10 * single.p_equivalent))
        inside = max(abs(one.low), abs(one.high)) < MARGIN
        assert (one.verdict == "equivalent") == inside


def test_speed_is_judged_as_a_ratio():
    slow = [95.0, 95.5, 94.8, 95.2, 95.1]
    (one,) = answer(
        [question(slow, [100.0, 100.4, 99.8, 100.1, 99.9], kind="cost", scale="ratio", margin=0.01)], Judgement()
    )
    assert one.verdict == "different" and one.estimate == pytest.approx(-0.049, abs=0.002)
    assert one.test == "welch" and "%" in one.says


def test_holm_is_the_textbook_s():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.9, 0.8]) == [1.0, 1.0]


def test_a_spread_from_fewer_runs_is_taken_with_more_caution_and_a_declared_one_as_it_is():
    factors = [caution("welch", (runs, runs), ALPHA, 0.8) for runs in (2, 3, 5, 20)]
    assert factors == sorted(factors, reverse=True) and factors[-1] > 1
    assert caution("welch", (5, 5), ALPHA, 0.9) > factors[2]
    assert caution("welch", (1, 5), ALPHA, 0.8) == pytest.approx(caution("paired", (5, 5), ALPHA, 0.8), rel=0.05)
    assert caution("known", (1, 1), ALPHA, 0.8) == 1
