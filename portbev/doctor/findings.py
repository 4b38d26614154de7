"""Checks, what they find, and a report of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from portbev.doctor.explain import explain
from portbev.doctor.machine import Machine
from portbev.doctor.table import Row, Severity, load

SCHEMA = "portbev.doctor/1"


@dataclass(frozen=True)
class Seen:
    """What a check saw.

    Attributes:
        id: of the row of the table that it is.
        where: the file, variable or package that showed it.
        what: in place of the row's, with the figures of this machine; "": the row's.
        cure: in place of the row's, ready to be typed here; "": the row's.
        says: the message that people see, with the names of this machine; "": the row's first.
    """

    id: str
    where: str
    what: str = ""
    cure: str = ""
    says: str = ""


Check = Callable[[Machine], Iterable[Seen]]
"""Looks at a machine and yields what it saw. A pure function of the machine."""


def _no_facts(machine: Machine) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Checkup:
    """What one room knows: checks, the table of their rows and of messages, and facts for the head of the page.

    Attributes:
        name: of the subject, in a word or two.
        table: a YAML file, see :func:`portbev.doctor.table.load`.
        checks: a check that raises is reported by name, and the others go on.
        facts: name -> value of what the room knows about the machine; without what is not there.
    """

    name: str
    table: Path
    checks: Sequence[Check] = ()
    facts: Callable[[Machine], Mapping[str, str]] = _no_facts

    @property
    def rows(self) -> list[Row]:
        """The table's rows."""
        return load(self.table)


@dataclass(frozen=True)
class Finding:
    """A condition of this machine: what, where it was seen, why it bites, the message that people see, the cure."""

    id: str
    severity: Severity
    what: str
    where: str
    why: str
    says: str
    cure: str

    def as_dict(self) -> dict[str, str]:
        """As JSON values."""
        return {**vars(self), "severity": self.severity.name.lower()}


@dataclass(frozen=True)
class Report:
    """Facts, findings (worst first) and checks that failed themselves."""

    facts: Mapping[str, str] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    failed: Sequence[str] = ()

    @property
    def stops(self) -> bool:
        """Whether something stops training."""
        return any(finding.severity is Severity.STOPS for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "schema": SCHEMA,
            "stops": self.stops,
            "facts": dict(self.facts),
            "findings": [finding.as_dict() for finding in self.findings],
            "failed": list(self.failed),
        }


def examine(machine: Machine, checkups: Iterable[Checkup]) -> Report:
    """Run every check on ``machine``. A check that raises is in ``failed``, with its error."""
    facts: dict[str, str] = {}
    findings: list[Finding] = []
    failed: list[str] = []
    tables = [(checkup, checkup.rows) for checkup in checkups]
    known = [row for _, rows in tables for row in rows]
    for checkup, table in tables:
        rows = {row.id: row for row in table}
        try:
            facts.update(checkup.facts(machine))
        except Exception as error:
            failed.append(f"{checkup.name}, facts: {type(error).__name__}: {error}")
        for check in checkup.checks:
            try:
                findings += [_finding(seen, rows[seen.id], known) for seen in check(machine)]
            except Exception as error:
                name = getattr(check, "__name__", str(check))
                failed.append(f"{checkup.name}, {name}: {type(error).__name__}: {error}")
    worst = list(Severity)
    findings.sort(key=lambda finding: worst.index(finding.severity))
    return Report(facts, findings, failed)


def _finding(seen: Seen, row: Row, known: Sequence[Row]) -> Finding:
    """A row without messages of its own has that of another program: what the tables know of it explains it."""
    if row.severity is None:
        raise ValueError(f"row {row.id} has no severity")
    says, why, cure = seen.says or next(iter(row.says), ""), row.why, seen.cure or row.cure
    behind = explain(says, known) if says and not row.says and not seen.cure else []
    if behind:
        why, cure = f"{why} {behind[0].row.why}", behind[0].row.cure
    return Finding(row.id, row.severity, seen.what or row.what, seen.where, why, says, cure)
