"""Which record of one dump stands for the same as which of another: by key, whatever the order and number of calls."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from portbev.parity.dumps.reading import RankRecords
from portbev.parity.dumps.record import Record


@dataclass(frozen=True)
class Alignment:
    """Pairs in the order of the first dump, and what only one dump has.

    Attributes:
        partner: place in the first dump -> place in the second.
    """

    partner: dict[int, int]
    only_a: list[Record]
    only_b: list[Record]


def align(a: RankRecords, b: RankRecords) -> Alignment:
    """Align two processes' records.

    Records of one module, operator, role and slot are paired by the number of the call where both dumps have as many;
    otherwise so that most have the same shape and arguments, in order, since calls may have been put in or left out.
    """
    mine, yours = _families(a.records), _families(b.records)
    partner: dict[int, int] = {}
    for family, records in mine.items():
        for one, other in _pairs(records, yours.get(family, [])):
            partner[one.n] = other.n
    taken = set(partner.values())
    return Alignment(
        partner,
        [record for record in a.records if record.n not in partner],
        [record for record in b.records if record.n not in taken],
    )


def _families(records: Sequence[Record]) -> dict[Any, list[Record]]:
    found: dict[Any, list[Record]] = defaultdict(list)
    for record in records:
        found[record.key[:4]].append(record)
    return found


def _pairs(mine: list[Record], yours: list[Record]) -> list[tuple[Record, Record]]:
    if len(mine) == len(yours):
        return list(zip(mine, yours, strict=True))
    signatures = [[_signature(record) for record in records] for records in (mine, yours)]
    blocks = SequenceMatcher(None, signatures[0], signatures[1], autojunk=False).get_matching_blocks()
    return [(mine[i + k], yours[j + k]) for i, j, size in blocks for k in range(size)]


def _signature(record: Record) -> tuple[Any, ...]:
    shaped = () if record.sketch is None else (record.sketch.shape, record.sketch.dtype)
    return (*shaped, record.arguments)
