"""A difference and its interval beside the margin, as places on a strip of the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portbev.parity.render import text
from portbev.parity.verdicts import Comparison, Verdict

SMALLEST, LARGEST = 1.6, 4.0
"""How many margins a strip shows to each side of zero: no fewer, no more. What lies beyond is an arrow at the edge."""


@dataclass(frozen=True)
class Dot:
    """A single difference on a strip."""

    place: float
    name: str
    verdict: Verdict


@dataclass(frozen=True)
class Strip:
    """One row of a plot; places are per cent of its width.

    Attributes:
        within: left and right edge of the margin; None where none is declared.
        line: left and right end of the interval; None without one.
        beyond: whether the interval or the estimate lies past the left and the right edge of the strip.
        at: the estimate.
        dots: single differences: of a seed, of a class.
    """

    comparison: Comparison | None
    verdict: Verdict
    said: str
    within: tuple[float, float] | None
    line: tuple[float, float] | None
    beyond: tuple[bool, bool]
    at: float | None
    dots: tuple[Dot, ...] = ()


def strips(comparisons: Sequence[Comparison]) -> list[Strip]:
    """Rows on one axis that counts in margins, so that figures of different size stand below each other."""
    reach = _reach([one for one in comparisons if _is_shown(one)])
    return [_strip(one, reach) for one in comparisons if _is_shown(one)]


def dots(comparisons: Sequence[Comparison]) -> Strip | None:
    """Many comparisons, such as those of classes, as one row of dots; None where none has an estimate."""
    known = [(one, one.estimate) for one in comparisons if one.estimate is not None]
    if not known:
        return None
    reach = _reach(comparisons)
    found = [
        Dot(_place(value, one, reach), f"{one.name} {text.change(one, value)}", one.verdict) for one, value in known
    ]
    margin = next((one.margin for one, _ in known if one.margin), None)
    within = _within(reach) if margin else None
    said = "; ".join(dot.name + (", different" if dot.verdict == "different" else "") for dot in found)
    return Strip(None, "not judged", said, within, None, (False, False), None, tuple(found))


def _is_shown(one: Comparison) -> bool:
    """Whether there is a margin or an interval that the difference can be seen beside."""
    return one.estimate is not None and (one.margin is not None or one.low is not None)


def _strip(one: Comparison, reach: float) -> Strip:
    points = tuple(Dot(_place(p, one, reach), f"a seed: {text.change(one, p)}", "not judged") for p in one.points)
    line = None
    if one.low is not None and one.high is not None:
        line = (_place(one.low, one, reach), _place(one.high, one, reach))
    ends = [end for end in (one.low, one.high, one.estimate) if end is not None]
    beyond = (min(ends) < -reach * _unit(one), max(ends) > reach * _unit(one))
    margin = f"; margin {text.change(one, one.margin, sign=False)}" if one.margin else ""
    interval = f", interval {text.interval(one)}" if text.interval(one) else ""
    said = f"{one.name}: difference {text.change(one, one.estimate)}{interval}{margin}; {one.verdict}"
    at = None if one.estimate is None else _place(one.estimate, one, reach)
    return Strip(one, one.verdict, said, _within(reach) if one.margin else None, line, beyond, at, points)


def _reach(comparisons: Sequence[Comparison]) -> float:
    ends = [
        abs(end) / _unit(one) for one in comparisons for end in (one.low, one.high, one.estimate) if end is not None
    ]
    return min(max(1.12 * max(ends, default=0.0), SMALLEST), LARGEST)


def _unit(one: Comparison) -> float:
    """What counts as one on the axis: the margin, or without one the largest end of the interval."""
    return one.margin or max(abs(end) for end in (one.low or 0.0, one.high or 0.0, one.estimate or 0.0)) or 1.0


def _within(reach: float) -> tuple[float, float]:
    return round(50 - 50 / reach, 2), round(50 + 50 / reach, 2)


def _place(value: float, one: Comparison, reach: float) -> float:
    return round(50 + 50 * min(max(value / _unit(one) / reach, -1.0), 1.0), 2)
