"""What two dumps say of the cause, without any device: its place, and as much of its kind as sketches tell."""

from __future__ import annotations

import math

from portbev.parity.bisect import around
from portbev.parity.bisect.local import Outlier, nearby, outliers
from portbev.parity.bisect.numeric import draw, numeric
from portbev.parity.bisect.region import Aligned, Pair, aligned
from portbev.parity.bisect.settings import average_settings, optimizer_settings
from portbev.parity.bisect.suspect import STAGES, Suspect
from portbev.parity.bisect.verdict import Kind, Verdict
from portbev.parity.dumps.bands import FACTOR
from portbev.parity.dumps.reading import Dump


def from_files(a: Dump, b: Dump) -> Suspect:
    """The cause, as far as files tell."""
    ranks = aligned(a, b)
    causes = [(one.causes[0], one) for one in ranks if one.causes]
    beyond = min(causes, key=lambda cause: (cause[0].a.n, cause[0].rank)) if causes else None
    inside = [(one, where) for where in ranks for one in outliers(where)]
    if beyond is None and not inside:
        suspect = Suspect(_settings_alone(a, b), a=a, aligned=ranks[0])
        suspect.nearby = nearby(ranks[0], None) if suspect.verdict.kind == "none" else []
        return suspect
    earlier = _earlier(beyond, inside)
    pair, where = (earlier[0].pair, earlier[1]) if earlier is not None else beyond  # type: ignore[misc]
    suspect = Suspect(
        Verdict("kernel", STAGES.get(pair.a.key.role, "forward"), rank=pair.rank, record=str(pair.a.key)),
        pair,
        where,
        a,
    )
    suspect.verdict.evidence.append(_first_line(where, pair, None if earlier is None else earlier[0]))
    _KINDS.get(pair.a.key.role, numeric)(suspect, a, b, ranks)
    if earlier is not None and beyond is not None:
        suspect.verdict.others.append(f"{beyond[0].a.key} is the first beyond its band; it may follow from the cause")
    if not (a.header.reruns or b.header.reruns) and pair.a.key.role in _ROUNDED:
        suspect.verdict.others.append(_UNBANDED)
    suspect.nearby = nearby(where, pair)
    return suspect


_ROUNDED = frozenset({"output", "written", "grad", "parameter.local"})
_UNBANDED = "neither dump has bands, so what is accused may be rounding that grew: make one of them without --no-bands"


def _earlier(
    beyond: tuple[Pair, Aligned] | None, inside: list[tuple[Outlier, Aligned]]
) -> tuple[Outlier, Aligned] | None:
    """The first outlier that the finding may follow from; with no finding, the first one."""
    if not inside:
        return None
    if beyond is None:
        return min(inside, key=lambda one: (one[0].pair.a.n, one[1].rank))
    pair, where = beyond
    before = where.before(pair.a)
    found = [one for one in inside if one[1] is where and one[0].pair.a.n in before]
    return min(found, key=lambda one: one[0].pair.a.n) if found else None


def _first_line(aligned: Aligned, pair: Pair, outlier: Outlier | None) -> str:
    """Where they part, and by how much."""
    sketch = aligned.a.sketch(pair.a)
    if pair.a.key.role in ("draw", "batch") or not math.isfinite(pair.distance) or sketch is None:
        how = "differs"
        if math.isfinite(pair.distance) and sketch is not None and sketch.norm:
            how = f"differs by {pair.distance / sketch.norm:.1e} of its norm"
        return f"{pair.a.key} {how}; it is the first that does"
    size = f"{pair.distance / sketch.norm:.1e} of its norm" if sketch.norm else f"{pair.distance:.1e}"
    if outlier is not None:
        return f"{pair.a.key} differs by {size}; {outlier.why}"
    if pair.distance <= FACTOR * pair.band:
        return f"{pair.a.key} is made in another way; all that it was computed from agrees"
    times = f", {pair.distance / pair.band:.0f} times what rounding does to it" if pair.band else ""
    return f"{pair.a.key} differs by {size}{times}; all that it was computed from agrees"


def _settings_alone(a: Dump, b: Dump) -> Verdict:
    """Nothing differs by numbers; the optimizer may still be set up otherwise."""
    note = "no record of this step shows it: it is too small for one step"
    told = [*optimizer_settings(a, b)]
    if told:
        return Verdict("configuration", "update", "(optimizer)", evidence=[told[0], note])
    average = average_settings(a, b)
    if average:
        return Verdict("configuration", "update", "(average)", evidence=[average, note])
    return Verdict("none", evidence=["no record differs by more than rounding"])


_KINDS = {
    "batch": around.data,
    "constant": around.data,
    "draw": draw,
    "parameter": around.before,
    "buffer": around.before,
    "buffer.after": around.after,
    "parameter.grad": around.exchange,
    "parameter.clipped": around.update,
    "update": around.update,
    "parameter.after": around.update,
    "average.after": around.average,
}
__all__ = ["Kind", "Suspect", "from_files"]
