"""Curves against control runs: is a difference what rounding grows to, or more.

A control run is the baseline again, on its own device, with every first weight moved by one unit in the last place. Two
devices that sum in another order round differently in every operator of every step; that is more than one unit once,
by a factor that does not depend on the model: :data:`ALLOWANCE`. Training then makes both grow at the same rate.

Rounding also flips decisions (a ReLU, a maximum, the sign in an L1 loss), early in some runs and late in others. So the
band is as good as the control runs are many: if a device does nothing but round, the chance that it leaves a band of k
control runs in which they themselves stay is at most 1 in k + 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from portbev.errors import PortbevError
from portbev.parity.document import CurveComparison
from portbev.parity.grouping import Key
from portbev.parity.runs import LabelledRun
from portbev.parity.settings import differing_keys
from portbev.parity.verdicts import BandTerm, CurveBand
from portbev.runs.scalars import Row

ALLOWANCE = 16.0
"""How many times the controls' largest difference a device's may be: what one unit in the last place of the weights
leaves out of the rounding of a whole step, measured on clean pairs (docs/parity-statistics.md)."""

FEWEST = 3
"""Fewer control runs cannot show that something lies outside."""

GRAD_NORM = "grad_norm"
DRAWN = 200

Array = NDArray[np.float64]


class ControlRuns:
    """The control runs of a report, each with the run that it repeats.

    Raises:
        PortbevError: one repeats none of the runs, or does not start from other weights.
    """

    def __init__(self, controls: Sequence[LabelledRun], sides: Sequence[Sequence[LabelledRun]]) -> None:
        self._of: dict[str, list[LabelledRun]] = {}
        runs = [run for side in sides for run in side]
        for control in controls:
            repeated = next((run for run in runs if repeats(control, run)), None)
            if repeated is None:
                raise PortbevError(
                    f"is no control run of any of {', '.join(run.label for run in runs)}: {_why_not(control, runs)}",
                    where=str(control.path),
                    cure="Make control runs: portbev parity curves A B --make 3 --out DIR",
                )
            self._of.setdefault(repeated.label, []).append(control)

    def judged(self, curve: CurveComparison, run: LabelledRun, baseline: LabelledRun) -> CurveComparison:
        """``curve`` with the band of the control runs of ``baseline``, if there are any."""
        controls = self._of.get(baseline.label)
        return curve.model_copy(update={"band": judge_curves(run, baseline, controls)}) if controls else curve


def repeats(control: LabelledRun, run: LabelledRun) -> bool:
    """Whether ``control`` is ``run`` again from other first weights."""
    return not _why_not(control, [run])


def _why_not(control: LabelledRun, runs: Sequence[LabelledRun]) -> str:
    """In what ``control`` differs from the nearest of ``runs``; empty: in its first weights alone."""
    reasons = []
    for run in runs:
        one, other = control.record, run.record
        found = [
            name
            for name in ("label", "device_name", "world_size")
            if getattr(one.backend, name) != getattr(other.backend, name)
        ]
        found += ["experiment or data"] if Key.of(one) != Key.of(other) else []
        found += ["seed"] if one.seed != other.seed else []
        differing = differing_keys(other, one).items()
        found += [key for key, meaning in differing if not meaning.may_change_on_resume and key != "train.seed"]
        found += ["no other first weights"] if one.init is None or one.init == other.init else []
        reasons.append(", ".join(found))
    return min(reasons, key=len)


def judge_curves(run: LabelledRun, baseline: LabelledRun, controls: Sequence[LabelledRun]) -> CurveBand:
    """Every loss term and the norm of the gradient of ``run`` against its band."""
    terms = []
    for name in _terms(baseline):
        curves = [_curve(one, name) for one in (baseline, run, *controls)]
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        if steps:
            rows = [np.array([curve[step] for step in steps]) for curve in curves]
            terms.append(_judge(name, np.array(steps), rows[0], rows[1], rows[2:]))
    labels = [control.label for control in controls]
    outside = [(term.first_step, term.term) for term in terms if term.first_step is not None]
    if not terms:
        text = "no common steps with the control runs"
        return _band(labels, "not judged", None, terms, text)
    if outside:
        first = min(outside)
        text = _outside(next(one for one in terms if one.term == first[1]), len(controls))
        if len(controls) < FEWEST:
            text += f"; but fewer than {FEWEST} control runs cannot show that"
            return _band(labels, "not judged", first, terms, text)
        return _band(labels, "outside", first, terms, text)
    same = all(not any(term.sizes) for term in terms)
    largest = max(term.largest or 0.0 for term in terms)
    steps_judged = len(_curve(baseline, GRAD_NORM).keys() & _curve(run, GRAD_NORM).keys())
    text = (
        f"within rounding: over {steps_judged} steps at most {largest * ALLOWANCE:.2g} times the largest difference of "
        f"{len(controls)} control runs, of {ALLOWANCE:g} allowed{_growth(terms)}"
    )
    return _band(labels, "identical" if same else "within rounding", None, terms, text)


def _band(
    controls: list[str], verdict: str, first: tuple[int | None, str] | None, terms: list[BandTerm], says: str
) -> CurveBand:
    return CurveBand.model_validate(
        {
            "controls": controls,
            "allowance": ALLOWANCE,
            "verdict": verdict,
            "first_step": first[0] if first else None,
            "first_term": first[1] if first else None,
            "terms": [term.model_dump() for term in terms],
            "says": says,
        }
    )


def _judge(name: str, steps: NDArray[np.int64], base: Array, curve: Array, controls: Sequence[Array]) -> BandTerm:
    size = _distance(curve, base)
    unit = np.spacing(np.abs(np.where(np.isfinite(base), base, 1.0)).astype(np.float32)).astype(np.float64)
    response = np.max([_distance(control, base) for control in controls], axis=0)
    limit = ALLOWANCE * _envelope(np.maximum(response, unit))
    over = size > limit
    ratio = size / limit
    kept = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), DRAWN)).astype(int))
    return BandTerm(
        term=name,
        first_step=int(steps[np.argmax(over)]) if over.any() else None,
        largest=_number(float(ratio.max())),
        growth=growth(size, limit),
        control_growth=growth(response, limit),
        steps=[int(step) for step in steps[kept]],
        sizes=[_number(float(value)) for value in size[kept]],
        limits=[_number(float(value)) or 0.0 for value in limit[kept]],
    )


def _distance(curve: Array, base: Array) -> Array:
    """Absolute difference; none where both are not finite, infinite where one is."""
    finite = np.isfinite(curve), np.isfinite(base)
    with np.errstate(invalid="ignore"):
        size = np.abs(curve - base)
    return np.where(finite[0] & finite[1], size, np.where(finite[0] | finite[1], np.inf, 0.0))


def _envelope(response: Array) -> Array:
    """The largest response at about the same time: growth is exponential, and control runs are few."""
    count = len(response)
    wide = np.empty(count)
    for index in range(count):
        reach = 2 + index // 10
        wide[index] = response[max(0, index - reach) : index + reach + 1].max()
    return np.maximum.accumulate(wide) if count < 3 else wide


def growth(size: Array, limit: Array) -> float | None:
    """Factor by which a difference grows in a step, while it grows; None where that takes too few steps to say."""
    top = np.max(limit[np.isfinite(limit)], initial=0.0)
    early = int(np.argmax(limit >= top / 10)) if top else 0
    indices = np.arange(early)
    used = np.isfinite(size[:early]) & (size[:early] > 0)
    if used.sum() < 5:
        return None
    return float(np.exp(stats.linregress(indices[used], np.log(size[:early][used])).slope))


def _growth(terms: Sequence[BandTerm]) -> str:
    term = next((one for one in terms if one.growth and one.control_growth), None)
    if term is None or term.growth is None or term.control_growth is None:
        return ""
    return f"; it grows by {100 * (term.growth - 1):.0f} % a step, theirs by {100 * (term.control_growth - 1):.0f} %"


def _outside(term: BandTerm, controls: int) -> str:
    times = "" if term.largest is None else f", at most {term.largest * ALLOWANCE:.2g} times their largest"
    return (
        f"outside the band of {controls} control run{'s' if controls > 1 else ''} from step {term.first_step} on in "
        f"{term.term}{times} ({ALLOWANCE:g} allowed): more than rounding, or what one device in {controls + 1} "
        "comes to by chance"
    )


def _terms(run: LabelledRun) -> list[str]:
    names = {term: None for row in run.scalars for term in row.losses}
    return [*sorted(names, key=lambda term: term != "total"), GRAD_NORM]


def _curve(run: LabelledRun, term: str) -> dict[int, float]:
    def value(row: Row) -> float | None:
        return row.grad_norm if term == GRAD_NORM else row.losses.get(term)

    return {row.step: found for row in run.scalars if (found := value(row)) is not None}


def _number(value: float) -> float | None:
    return value if np.isfinite(value) else None
