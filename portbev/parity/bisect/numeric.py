"""The kinds of what the model computes: kernels, reduced precision, settings of a call, random draws."""

from __future__ import annotations

from collections.abc import Iterator

from portbev.parity.bisect.differences import Difference, reading
from portbev.parity.bisect.region import Aligned
from portbev.parity.bisect.settings import module_settings
from portbev.parity.bisect.suspect import Suspect
from portbev.parity.dumps.arguments import same_arguments
from portbev.parity.dumps.reading import Dump
from portbev.parity.dumps.record import Record

_CASTS = frozenset("half float bfloat16 to type type_as double detach contiguous clone".split())  # noqa: SIM905
"""Operators that change no more than the format of numbers."""
_NARROW = frozenset({"half", "bfloat16"})


def draw(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    key = pair.b.key
    verdict.kind, verdict.module, verdict.operator, verdict.provider = (
        "random draw", key.module, key.operator, pair.b.provider
    )  # fmt: skip
    if key.module == "(data)":
        verdict.stage = "data"
        verdict.operator = ""
        verdict.evidence.append(f"what the data's generator gave for {key.operator} differs, with the same key")
        return
    suspect.calls = [pair.b]
    set_otherwise = module_settings(a, b, key.module)
    if set_otherwise:
        verdict.kind = "configuration"
        verdict.evidence.insert(0, set_otherwise)
    elif pair.a.arguments == pair.b.arguments:
        verdict.evidence.append(f"with the same key {_clip(pair.a.arguments)}: who counts or draws is at fault")
    else:
        one, other = _parting(pair.a.arguments, pair.b.arguments)
        if all("." in text.partition(",")[0] for text in (one, other)):  # keys are integers, probabilities are not
            verdict.kind = "configuration"
            verdict.evidence.insert(0, f"{key.operator} is called with {one} in a and with {other} in b")
        else:
            verdict.evidence.append(
                f"with {_clip(pair.a.arguments)} in a and {_clip(pair.b.arguments)} in b: another key"
            )


def numeric(suspect: Suspect, a: Dump, b: Dump, ranks: list[Aligned]) -> None:
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    if verdict.stage == "backward":
        suspect.calls = list(users(aligned, pair.b))
        maker = suspect.calls[0] if suspect.calls else pair.b
        verdict.module, verdict.operator = maker.key.module, maker.key.operator
        _between(suspect)
    else:
        maker = aligned.maker(pair.b)
        suspect.calls = [maker] if maker.key.operator else []
        verdict.module, verdict.operator = pair.b.key.module, maker.key.operator
    verdict.provider = provider(maker)
    for call in suspect.calls or [pair.b]:
        told = other_arguments(aligned, call)
        if told:
            verdict.kind, verdict.module, verdict.operator = "configuration", call.key.module, call.key.operator
            verdict.evidence.append(told)
            return
    set_otherwise = module_settings(a, b, verdict.module)
    if set_otherwise:
        verdict.kind = "configuration"
        verdict.evidence.insert(0, set_otherwise)
        return
    if _runs_otherwise(suspect, aligned):
        return
    one, two = aligned.a.sketch(pair.a), aligned.b.sketch(pair.b)
    found = Difference.of(one, two) if one is not None and two is not None else None
    if found is not None:
        verdict.kind, line, side = reading(found)
        verdict.side = side
        verdict.evidence.append(line)
    extra = {side: _names(aligned.only(side, verdict.module)) for side in ("b", "a")}
    told = "; ".join(f"{side} alone calls {', '.join(names[:6])} there" for side, names in extra.items() if names)
    if told:
        verdict.evidence.append(told)
    others = all(set(names) - _CASTS for names in extra.values())
    narrow = any(_NARROW.intersection(names) for names in extra.values())
    if others and not narrow and verdict.kind == "reduced precision" and not verdict.side:
        verdict.kind = "kernel"
        verdict.evidence.append("each side computes it by operators that the other does not call")


def _between(suspect: Suspect) -> None:
    """A gradient may also be changed by what the layer does to its own result, before others use it."""
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    own = pair.b.key.module
    if pair.a.key.role != "grad" or own == verdict.module:
        return
    extra, theirs = ([*aligned.only("b", name), *aligned.only("a", name)] for name in (own, verdict.module))
    first, second = (f"the backward of {verdict.operator} in {verdict.module}", f"what {own} does to its own result")
    if extra and not theirs:
        verdict.module, verdict.operator = own, ""
        first, second = second, first
    verdict.others.append(f"the gradient is that of the result of {own}: {first} may be wrong, or {second}")


def _runs_otherwise(suspect: Suspect, aligned: Aligned) -> bool:
    """Whether a part of the model is run another number of times, so that its calls do not stand for each other."""
    verdict = suspect.verdict
    first, second = aligned.runs
    parts = verdict.module.split(".")
    for name in (".".join(parts[: i + 1]) for i in range(len(parts))):
        once, other = first[name], second[name]
        if once and other and once != other:
            verdict.kind, verdict.module, verdict.operator = "configuration", name.rpartition(".")[0], ""
            verdict.evidence.insert(0, f"{name} is run {once} times in a and {other} times in b")
            suspect.calls = []
            return True
    return False


def provider(call: Record) -> str:
    """Who served it: an operator that calls another of ours has both, the outer one last."""
    return call.provider.split(",")[0]


def users(aligned: Aligned, gradient: Record) -> Iterator[Record]:
    """Results of the operators of b whose backward gives ``gradient``, through views and copies."""
    key, records = gradient.key, aligned.b.records
    role = "parameter" if key.role == "parameter.local" else "output"
    starts = [
        r.n
        for r in records
        if r.key[:2] == key[:2] and r.key.role in (role, "written", "view") and r.key.slot == key.slot
    ]
    waiting, seen = starts, set(starts)
    users: dict[int, Record] = {}
    while waiting:
        n = waiting.pop()
        for record in records[n + 1 :]:
            if n not in record.inputs or record.n in seen or record.key.role in ("grad", "parameter.local"):
                continue
            seen.add(record.n)
            if record.key.role in ("view", "copy"):
                waiting.append(record.n)
            elif record.key.role in ("output", "written", "draw") and record.key.operator:
                users.setdefault(record.n, record)
    return iter([users[n] for n in sorted(users)])


def other_arguments(aligned: Aligned, call: Record) -> str | None:
    at = aligned.pair_of_b(call.n)
    if at is None or same_arguments(at.a.arguments, at.b.arguments) or not at.a.key.operator:
        return None
    if at.a.arguments_move or at.b.arguments_move:
        return None
    one, other = _parting(at.a.arguments, at.b.arguments)
    return f"{call.key.operator} is called with {one} in a and with {other} in b"


def _parting(one: str, other: str) -> tuple[str, str]:
    """Two texts from a little before where they part."""
    first = next((i for i, (x, y) in enumerate(zip(one, other, strict=False)) if x != y), min(len(one), len(other)))
    begin = max(0, max(one.rfind(" ", 0, first), one.rfind("(", 0, first)) + 1)
    return _clip(one[begin:]), _clip(other[begin:])


def _clip(text: str, length: int = 60) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def _names(records: list[Record]) -> list[str]:
    return list(dict.fromkeys(record.key.operator for record in records))
