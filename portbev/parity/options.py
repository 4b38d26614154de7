"""What was declared on the command line, read."""

from __future__ import annotations

from collections.abc import Sequence

from portbev.errors import PortbevError
from portbev.parity.gate import parse_number
from portbev.parity.verdicts import Judgement


def read_judgement(
    *, margins: Sequence[str], spreads: Sequence[str], alpha: float = 0.05, power: float = 0.8, looks: int = 1
) -> Judgement:
    """Raises PortbevError: an item is not ``METRIC=NUMBER``, or a number is out of its range."""
    for option, value, high in (("--alpha", alpha, 0.5), ("--power", power, 1.0)):
        if not 0 < value < high:
            raise PortbevError(f"{value:g} is out of range", where=option, cure=f"Between 0 and {high:g}")
    if looks < 1:
        raise PortbevError(f"{looks} is out of range", where="--looks", cure="1 or more")
    return Judgement(
        alpha=alpha, power=power, looks=looks, margins=_pairs(margins, "--margin"), spreads=_pairs(spreads, "--spread")
    )


def _pairs(texts: Sequence[str], where: str) -> dict[str, float]:
    found = {}
    for text in texts:
        name, _, value = text.partition("=")
        found[name] = parse_number(value, text, where)
    return found
