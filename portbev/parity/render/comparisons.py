"""Verdicts as rows of text, for Markdown, and in full, for CSV."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from portbev.parity.document import ParityReport
from portbev.parity.render import text
from portbev.parity.verdicts import Comparison

HEAD = ("figure", "verdict", "difference", "interval", "margin", "runs", "test", "power", "runs needed")


def short(one: Comparison) -> list[str]:
    """The cells below :data:`HEAD`."""
    return [
        one.name,
        one.verdict,
        text.change(one, one.estimate),
        text.interval(one) or text.NONE,
        text.change(one, one.margin, sign=False),
        f"{one.seeds} and {one.baseline_seeds}",
        one.test,
        text.share(one.power),
        text.NONE if one.runs_needed is None else str(one.runs_needed),
    ]


FIELDS = tuple(name for name in Comparison.model_fields if name not in ("points", "says"))


def in_full(report: ParityReport) -> Iterator[tuple[str, str, Comparison]]:
    """Every comparison of the report: group number (empty for published rows), what it belongs to, itself."""
    for group in report.groups:
        for one in group.comparisons:
            yield str(group.number), "sides", one
        for one in group.reference.comparisons if group.reference is not None else ():
            yield str(group.number), "recorded original", one
    for table in report.published_verdicts:
        for one in table.comparisons:
            yield "", f"published: {table.title}", one


def notes(comparisons: Sequence[Comparison]) -> list[str]:
    """Why figures were not judged, each reason once."""
    reasons = [one.says.split(" is not judged: ")[-1].rstrip(".") for one in comparisons if one.verdict == "not judged"]
    return list(dict.fromkeys(reasons))
