"""``portbev doctor``: what is wrong with this machine and this environment, and what a known error message means.

The framework knows the host, Python's packages and the disk. What bites with a device, its backend knows: plugins
bring checks and messages by the hook ``portbev_checkups``. Nothing here imports torch, because a torch that cannot be
imported is one of the conditions; a process of its own tries it.
"""

from __future__ import annotations

from portbev.doctor.findings import Check, Checkup, Finding, Report, Seen, examine
from portbev.doctor.machine import Answer, Machine, Space
from portbev.doctor.table import Row, Severity, load

__all__ = [
    "Answer",
    "Check",
    "Checkup",
    "Finding",
    "Machine",
    "Report",
    "Row",
    "Seen",
    "Severity",
    "Space",
    "examine",
    "load",
]
