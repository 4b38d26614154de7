"""What a report does not claim."""

from __future__ import annotations

from portbev.parity.document import ParityReport

RIGHT = (
    "Equal losses and equal scores mean that the runs agree with each other, not that both are right: the models "
    "are checked against the original implementations by the reference tests."
)
SINGLE = (
    "One run a device says little about a difference in a score: runs that differ only in their seed differ too. "
    "Where no spread over seeds is known, such a difference stays undecided."
)
SEEDS = (
    "A verdict over several seeds holds for this model, data and schedule, for the margin declared, and with the "
    "stated chance of error; it is no statement about other models."
)
MACHINE = "Throughput and memory hold for the machine, the versions and the settings listed under Environment."


def limits(report: ParityReport) -> list[str]:
    """The lines that fit the report."""
    sides = [side for group in report.groups for side in group.sides]
    several = any(len(side.runs) > 1 for side in sides)
    single = not sides or any(len(side.runs) == 1 for side in sides)
    return [RIGHT, *([SINGLE] if single else []), *([SEEDS] if several else []), MACHINE]
