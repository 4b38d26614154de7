"""What a suspect that was computed again says: it is accused, or acquitted."""

from __future__ import annotations

from portbev.parity.bisect.region import Aligned
from portbev.parity.bisect.suspect import Suspect
from portbev.parity.dumps.bands import SUSPECT
from portbev.parity.dumps.record import Record
from portbev.parity.dumps.sketch import distance, sketch
from portbev.recording.capture import Call
from portbev.recording.replay import WRONG, Replay, is_noise


def accuse(suspect: Suspect, call: Call, made: Replay, right: list[Call] | None = None) -> None:
    """The device's result is wrong for the inputs that it was given.

    Args:
        right: of a module: the operators in it, which are right by themselves.
    """
    verdict = suspect.verdict
    verdict.module, verdict.side = call.key.module, "b"
    who = call.key.operator or "the module as a whole"
    lines = []
    if call.key.operator:
        verdict.operator = call.key.operator
        wrong = [p.name for p in made.providers if p.side == "device" and (p.ratio is None or p.ratio > WRONG)]
        served = call.provider.split(",")[0]
        verdict.provider = served if not wrong or served in wrong else wrong[0]
    else:
        verdict.operator = verdict.provider = ""
        if right:
            told = f"the operators that it calls there are right by themselves: {_names(right)}"
            verdict.evidence.append(f"{told}: it is the layer's own code" if not made.rounded else told)
    verdict.providers = made.providers
    fine = [p for p in made.providers if p.ratio is not None and p.ratio <= WRONG]
    plain = f"{fine[-1].name} on the {fine[-1].side}" if fine else "the same in its dtype on the CPU"
    lines.append(
        f"{who}, {made.what}, fed its inputs by itself: {made.error:.1e} from float64; {plain}: {made.plain:.1e}"
    )
    narrow = _narrow(right or [])
    if made.rounded:
        lines.append(f"float64 with {made.rounded} gives its result to {made.left:.1e}")
    elif narrow:
        lines.append(narrow)
    elif is_noise(made.found, made.exact):
        lines.append("what it is off by has both signs and no pattern, as the rounding of sums to fewer bits has")
    if verdict.kind != "random draw":
        verdict.kind = "reduced precision" if len(lines) > 1 else "kernel"
    verdict.evidence[:0] = lines


def _narrow(inside: list[Call]) -> str:
    """The operators of a module that give float16 or bfloat16 of what was wider, as a line; empty for none."""
    for call in inside:
        for one in call.results:
            if one.is_floating_point() and one.element_size() == 2:
                return f"{call.key.operator} gives {str(one.dtype).removeprefix('torch.')} there"
    return ""


def _names(calls: list[Call]) -> str:
    names = list(dict.fromkeys(call.key.operator for call in calls))
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")


def acquit(suspect: Suspect, operators: list[Call]) -> None:
    """Nothing here is wrong by itself: it may be the other side, or the code between the operators.

    Args:
        operators: those of the accused that were computed again, and are right.
    """
    verdict, pair, aligned = suspect.verdict, suspect.pair, suspect.aligned
    assert pair is not None and aligned is not None
    if not operators or verdict.stage == "backward":
        verdict.evidence.append("computed again by itself, nothing on this device is wrong there")
        return
    call = operators[-1]
    one, two = aligned.a.sketch(pair.a), aligned.b.sketch(pair.b)
    result = call.results[pair.b.key.slot] if pair.b.key.slot < len(call.results) else None
    if one is None or two is None or result is None:
        return
    exact = sketch(result.cpu())
    far = {side: distance(exact, there) for side, there in (("a", one), ("b", two))}
    told = {side: value / exact.norm for side, value in far.items() if value is not None and exact.norm}
    extra = aligned.only("b", verdict.module) or aligned.only("a", verdict.module)
    if extra:
        names = ", ".join(dict.fromkeys(record.key.operator for record in extra))
        line = f"{verdict.operator} is right for what it is given: the layer's own code differs ({names})"
        verdict.evidence.insert(0, line)
        verdict.provider = verdict.operator = ""
        return
    if verdict.side:
        verdict.evidence.append("computed again by itself it is what it was: the CPU does the same here")
        return
    if len(told) == 2 and told["a"] > 16 * max(told["b"], 1e-7) and _fed_alike(aligned, suspect.calls[-1]):
        verdict.side = "a"
        verdict.provider = pair.a.provider.split(",")[0]
        verdict.evidence.insert(
            0,
            f"with the same inputs this device gives b's result to {told['b']:.1e}, which is right; a's is "
            f"{told['a']:.1e} from it",
        )


def _fed_alike(aligned: Aligned, call: Record) -> bool:
    """Whether both dumps have all inputs of b's call, alike."""
    for n in call.inputs:
        record = aligned.b.records[n]
        while record.sketch is None and record.inputs:
            record = aligned.b.records[record.inputs[0]]
        at = aligned.pair_of_b(record.n)
        if at is None or at.distance > SUSPECT * at.band:
            return False
    return True
