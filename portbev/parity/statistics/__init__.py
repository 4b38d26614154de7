"""Are two sides equal within a margin: tests, power, runs needed. Numbers in, numbers out; scipy has the formulas."""

from portbev.parity.statistics.plan import Plan, equivalence_power, runs_needed, upper_spread
from portbev.parity.statistics.together import holm
from portbev.parity.statistics.tost import Outcome, known_spread, paired, pooled, welch

__all__ = [
    "Outcome",
    "Plan",
    "equivalence_power",
    "holm",
    "known_spread",
    "paired",
    "pooled",
    "runs_needed",
    "upper_spread",
    "welch",
]
