"""Are two sides equal within a margin: tests, power, runs needed. Numbers in, numbers out; scipy has the formulas."""

from portbev.parity.statistics.plan import Plan, caution, equivalence_power, least_power, runs_needed
from portbev.parity.statistics.together import holm
from portbev.parity.statistics.tost import Outcome, known_spread, paired, pooled, welch

__all__ = [
    "Outcome",
    "Plan",
    "caution",
    "equivalence_power",
    "holm",
    "known_spread",
    "least_power",
    "paired",
    "pooled",
    "runs_needed",
    "welch",
]
