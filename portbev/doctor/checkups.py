"""The checkups of this installation: the framework's own, then what plugins bring."""

from __future__ import annotations

from pathlib import Path

from portbev.doctor import host, python_packages, shell, storage
from portbev.doctor.findings import Checkup
from portbev.doctor.table import Row
from portbev.plugins import plugins

OWN = Checkup(
    name="host, packages and disk",
    table=Path(__file__).with_name("messages.yaml"),
    checks=(*python_packages.CHECKS, *host.CHECKS, *shell.CHECKS, *storage.CHECKS),
    facts=lambda machine: {**host.facts(machine), **python_packages.facts(machine), **storage.facts(machine)},
)


def checkups() -> list[Checkup]:
    """All checkups; a plugin that brings none that can be used is in ``plugins().failures``."""
    return [OWN, *plugins().checkups()]


def all_rows() -> list[Row]:
    """The rows of every table."""
    return [row for checkup in checkups() for row in checkup.rows]
