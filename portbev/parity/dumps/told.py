"""A comparison of dumps as lines for people; an emulated device is said wherever it is named."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence

from portbev import lists
from portbev.parity.dumps.bands import FACTOR
from portbev.parity.dumps.compare import Comparison
from portbev.parity.dumps.findings import Finding
from portbev.parity.dumps.likeness import Difference
from portbev.parity.dumps.record import Record


def lines(found: Comparison, most: int | None = lists.MOST) -> Iterator[str]:
    """The verdict first, then the cause with its evidence, then what else there is to know.

    Args:
        most: entries of a list; None: all of them.
    """
    a, b = found.a.header, found.b.header
    yield f"A  {found.a.label}: {a.run.name}, {a.step.kind} step {a.step.number}, on {a.label}"
    yield f"B  {found.b.label}: {b.run.name}, {b.step.kind} step {b.step.number}, on {b.label}"
    for side, header in (("A", a), ("B", b)):
        if header.ended:
            yield f"{side} ended early: {header.ended}"
    yield from _verdict(found, most)
    for rank in found.ranks:
        counts = rank.counts
        many = f" of process {rank.rank}" if len(found.ranks) > 1 else ""
        told = f"{counts['equal']} equal, {counts['within']} within rounding"
        told += f", {counts['edge']} at an edge or after one" if counts["edge"] else ""
        told += f", {counts['differs']} beyond rounding or after such" if counts["differs"] else ""
        yield f"records{many}: {told}"
        yield from _only("A", rank.alignment.only_a)
        yield from _only("B", rank.alignment.only_b)
    yield from _differences("settings that differ, and may", found.allowed, most)
    yield from _differences("operators that others served", found.ledger, most)
    yield from _differences("environment", found.environment, most)
    if found.verdict != "bit-identical":
        yield f"portbev parity bisect {shlex.quote(str(found.a.path))} {shlex.quote(str(found.b.path))}: {_more(found)}"


def _more(found: Comparison) -> str:
    """What ``parity bisect`` does that a comparison does not."""
    if found.verdict == "different":
        return "names the kernel, the setting or the draw behind the cause"
    return "looks at what stays within rounding too: fewer bits, a setting, another way to compute the same"


def _verdict(found: Comparison, most: int | None) -> Iterator[str]:
    yield ""
    yield f"{found.verdict}"
    if found.first_bit is not None:
        yield f"  equal bit by bit up to {found.first_bit.key}"
    for difference in found.optimizer:
        yield f"  the optimizer has another {difference.key}: {difference.a} and {difference.b}"
    findings = found.findings
    if findings:
        yield f"  cause: {_named(findings[0])}"
        yield from (f"    {line}" for line in _evidence(findings[0]))
        others = findings[1:]
        if others:
            yield f"  {len(others)} more that nothing before explains{_parts(others, most)}:"
            yield from _cut([f"    {_named(finding)}" for finding in others], most, "    ")
    edges = [f"  an edge was crossed in a few elements of {edge.a.key}" for edge in found.edges]
    yield from _cut([f"{edge}: what follows from it is not judged" for edge in edges], most, "  ")
    if not found.bands and found.first_bit is not None:
        yield "  no bands: dumps of the level sketch, made with --bands, tell rounding from more"
    yield ""


def _named(finding: Finding) -> str:
    return f"{finding.a.key} ({finding.kind})" + (f" of process {finding.rank}" if finding.rank else "")


def _evidence(finding: Finding) -> Iterator[str]:
    if finding.arguments is not None:
        yield f"called with {finding.arguments[0]} and {finding.arguments[1]}"
    if finding.ratio is not None:
        relative = "" if finding.relative is None else f", {finding.relative:.2g} of its norm"
        yield (
            f"differs by {finding.distance:.3g}{relative}: {finding.ratio:.3g} times what rounding does "
            f"({finding.band:.3g}); more than {FACTOR:g} is beyond"
        )
    elif finding.a.sketch is not None and finding.b.sketch is not None:
        one, two = finding.a.sketch, finding.b.sketch
        if (one.shape, one.dtype) != (two.shape, two.dtype):
            yield f"is {one.dtype} {list(one.shape)} and {two.dtype} {list(two.shape)}"
        elif (one.nan, one.inf) != (two.nan, two.inf):
            yield f"has {one.nan} NaN and {one.inf} infinities, and {two.nan} and {two.inf}"
        else:
            yield f"must be equal, and is not: content {one.hash} and {two.hash}"
    inputs = {str(key): state.name.lower() for key, state in finding.inputs}
    if inputs:
        shown = [f"{key} ({state})" for key, state in list(inputs.items())[:4]]
        yield f"what it is computed from agrees: {', '.join(shown)}" + (" ..." if len(inputs) > 4 else "")
    if any(finding.providers):
        yield f"served by {finding.providers[0] or 'torch'} and {finding.providers[1] or 'torch'}"


def _only(side: str, records: Sequence[Record]) -> Iterator[str]:
    if records:
        shown = ", ".join(str(record.key) for record in records[:3])
        count = f"{len(records)} record{'s' * (len(records) > 1)}"
        yield f"  only {side} has {count}: {shown}" + (" ..." if len(records) > 3 else "")


def _differences(what: str, found: Sequence[Difference], most: int | None) -> Iterator[str]:
    if found:
        yield f"{what}:"
        yield from _cut([f"  {one.key}: {one.a} and {one.b}" for one in found], most, "  ")


def _parts(findings: Sequence[Finding], most: int | None) -> str:
    """Of a list that will be cut: where in the model all of them are."""
    if most is None or len(findings) <= most:
        return ""
    return f" ({lists.families([f'{finding.a.key.module}.x' for finding in findings])})"


def _cut(entries: Sequence[str], most: int | None, indent: str) -> Iterator[str]:
    shown, more = lists.shorten(entries, most)
    yield from shown
    if more:
        yield f"{indent}and {more} more (--all shows them)"
