"""From two dumps to a cause, with a device at hand: the suspects are computed again, each by itself.

The files say where two dumps part (:mod:`portbev.parity.bisect`). The step is taken once more on the device, and what
is suspected there is fed its inputs again: every operator through each provider of the ledger, then the module as a
whole. These inputs agree with the other side's within rounding, or the place would be another one; where the other
dump kept them (``--tensors``), they are the other side's themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from portbev import comm as comms
from portbev.backend import Backend
from portbev.bench.models import model_of
from portbev.config.load import load_config
from portbev.errors import PortbevError
from portbev.parity.bisect.files import Suspect, from_files
from portbev.parity.bisect.verdict import Verdict
from portbev.parity.dumps.likeness import check_comparable
from portbev.parity.dumps.reading import Dump
from portbev.parity.dumps.sketch import distance, sketch
from portbev.recording.capture import Call, captured, mapped
from portbev.recording.dump import Plan, dump
from portbev.recording.replay import WRONG, Replay, host_of, replay
from portbev.recording.step import RecordedStep, Source, activated, prepare_step
from portbev.recording.values import tensors_in
from portbev.runtime import find_backend

INSIDE = 200
"""Operators of a wrong module that are looked at one by one."""


def bisect(
    a: Dump,
    b: Dump,
    *,
    backend: Backend | str | None,
    emulate: bool = False,
    source: Source | None = None,
    data_root: Path | str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """The cause of what differs between two dumps of one step.

    Args:
        backend: that of b, to compute the suspects again on; None: the files alone.
        source: what b was a dump of; its configuration where nothing is said.
    """
    check_comparable(a, b)
    suspect = from_files(a, b)
    if backend is None or not suspect.is_numeric or len(b.ranks) > 1:
        return suspect.verdict
    say(f"from the files: {suspect.verdict.headline()}")
    step = step_of(b, backend, emulate=emulate, source=source, data_root=data_root)
    say(f"taking the step again on {step.parts.backend.label}")
    examine(suspect, step)
    return suspect.verdict


def live_backend(b: Dump, name: str, *, emulate: bool) -> tuple[str | None, str]:
    """The name of b's backend if it can be used here, else None and why not.

    Raises:
        PortbevError: another one was named, and it cannot be used.
    """
    wanted = b.header.run.backend
    emulate = emulate or wanted.emulated
    if name:
        if name != wanted.name:
            raise PortbevError(
                f"b was recorded on {wanted.name}, not on {name}", where="--backend", cure=f"--backend {wanted.name}"
            )
        find_backend(name, emulate=emulate)
        return name, ""
    try:
        find_backend(wanted.name, emulate=emulate)
    except PortbevError as error:
        return None, f"{wanted.name} is not here: {error}"
    return wanted.name, ""


def counterpart(
    a: Dump,
    backend: str,
    *,
    emulate: bool = False,
    source: Source | None = None,
    data_root: Path | str | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Dump the step of ``a`` on another device, at hand.

    Raises:
        PortbevError: no backend is named, or as :func:`portbev.recording.dump.dump`.
    """
    if not backend:
        cure = "Name a second dump, or the device: --backend NAME"
        raise PortbevError("there is nothing to compare with", where=str(a.path), cure=cure)
    out = out or a.path.resolve().with_name(f"{a.path.resolve().name}-{backend}")
    header = a.header
    plan = Plan(header.step.kind, header.level, tuple(header.tensors), bands=bool(header.reruns))
    where = data_root or (None if source is not None and source.data_root else header.run.data.source)
    return dump(
        source or Source(load_config(header.run.config)),
        out,
        plan,
        backend=backend,
        emulate=emulate,
        data_root=where,
        say=say,
    )


def step_of(
    dump: Dump,
    backend: Backend | str,
    *,
    emulate: bool = False,
    source: Source | None = None,
    data_root: Path | str | None = None,
) -> RecordedStep:
    """The step of a dump, prepared on a device at hand.

    Raises:
        PortbevError: the weights or the data are not those of the dump.
    """
    run = dump.header.run
    source = source or Source(load_config(run.config))
    chosen, notes = activated(backend, source.config, emulate=emulate)
    with comms.join(chosen) as comm:
        step = prepare_step(
            source,
            backend=chosen,
            comm=comm,
            kind=dump.header.step.kind,
            data_root=data_root or (None if source.data_root else run.data.source),
            notes=notes,
        )
    if step.number != dump.header.step.number:
        raise PortbevError(
            f"the dump is of step {dump.header.step.number}, this one is {step.number}",
            where=str(dump.path),
            cure="Name the run that was dumped: --source RUN",
        )
    digest = step.parts.writer.record.data.digest
    if digest != run.data.digest:
        raise PortbevError("the data are not those of the dump", where="--data-root", cure="Name the same data set")
    return step


def examine(suspect: Suspect, step: RecordedStep) -> None:
    """Compute the suspects again and write into the verdict what that says."""
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    keys = {(call.key.module, call.key.operator, call.key.call) for call in suspect.calls}
    modules = {call.key.module for call in suspect.calls} or {verdict.module}
    calls = captured(step, modules)
    verdict.live = f"{step.parts.backend.label}: {step.parts.backend.device_name()}"
    twin = clean_twin(step)
    backward = verdict.stage == "backward"
    operators = [c for c in calls if (c.key.module, c.key.operator, c.key.call) in keys]
    for call in operators if backward else [refed(one, suspect) for one in operators]:
        made = _try(call, backward, twin, verdict)
        if made is not None and made.is_wrong:
            _accuse(suspect, call, made)
            return
    for name in sorted(modules, key=lambda name: name != verdict.module):
        for call in (c for c in calls if c.key.module == name and not c.key.operator):
            if suspect.calls and not backward and call.key.call != _module_call(suspect, name):
                continue
            made = _try(call, backward, twin, verdict)
            if made is None or not made.is_wrong:
                continue
            inside = [c for c in calls if c.key.module == name and c.key.operator][:INSIDE]
            tried = [(one, _try(one, backward, twin, None)) for one in inside]
            wrong = next(((one, its) for one, its in tried if its is not None and its.is_wrong), None)
            if wrong is not None:
                _accuse(suspect, *wrong)
            else:
                _accuse(suspect, call, made, right=[one for one, its in tried if its is not None])
            return
    _acquit(suspect, operators, twin)


def _module_call(suspect: Suspect, name: str) -> int:
    """Which call of the module the suspected operator was called in: the module's next result."""
    assert suspect.aligned is not None
    first = suspect.calls[0].n
    for record in suspect.aligned.b.records[first:]:
        if record.key.module == name and not record.key.operator and record.key.role == "output":
            return record.key.call
    return 0


def refed(call: Call, suspect: Suspect) -> Call:
    """The call with a's inputs in place of b's, where a's dump has them, computed anew on the device."""
    aligned, dump = suspect.aligned, suspect.a
    assert aligned is not None and dump is not None
    record = next((r for r in suspect.calls if r.key[:2] == call.key[:2] and r.key.call == call.key.call), None)
    at = None if record is None else aligned.pair_of_b(record.n)
    mine = list(tensors_in((call.args, call.kwargs)))
    if at is None or len(at.a.inputs) != len(mine) or isinstance(call.run, nn.Module):
        return call
    theirs = [dump.tensor(aligned.rank, aligned.a.records[n]) for n in at.a.inputs]
    fits = [there is not None and there.shape == one.shape for one, there in zip(mine, theirs, strict=True)]
    if not any(fits):
        return call
    new = iter(
        there.to(one.device, one.dtype).requires_grad_(one.requires_grad) if fit and there is not None else one
        for one, there, fit in zip(mine, theirs, fits, strict=True)
    )
    args, kwargs = mapped((call.args, call.kwargs), lambda _: next(new))
    with torch.no_grad():
        results = list(tensors_in(call.run(*mapped(args, torch.Tensor.detach), **mapped(kwargs, torch.Tensor.detach))))
    suspect.verdict.evidence.append(f"{call.key.operator} was fed {sum(fits)} of its {len(fits)} inputs from a's file")
    return replace(call, args=args, kwargs=kwargs, results=results)


def _try(call: Call, backward: bool, twin: nn.Module, verdict: Verdict | None) -> Replay | None:
    """The replay of a call, or a line of evidence why there is none."""
    module = twin.get_submodule(call.key.module) if isinstance(call.run, nn.Module) else None
    if backward and not call.grads:
        return None
    try:
        return replay(call, backward, host_of(call, module))
    except Exception as error:
        what = call.key.operator or "the module"
        text = " ".join(str(error).split())[:100]
        if verdict is not None:
            verdict.evidence.append(f"{what} cannot be computed again by itself ({type(error).__name__}: {text})")
        return None


def _accuse(suspect: Suspect, call: Call, made: Replay, right: list[Call] | None = None) -> None:
    """The device's result is wrong for the inputs that it was given."""
    verdict, pair = suspect.verdict, suspect.pair
    assert pair is not None
    verdict.module, verdict.side = call.key.module, "b"
    who = call.key.operator or "the module as a whole"
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
    if verdict.kind != "random draw":
        verdict.kind = "reduced precision" if made.rounded else "kernel"
    fine = [p for p in made.providers if p.ratio is not None and p.ratio <= WRONG]
    plain = f"{fine[-1].name} on the {fine[-1].side}" if fine else "the same in its dtype on the CPU"
    lines = [f"{who}, {made.what}, fed its inputs by itself: {made.error:.1e} from float64; {plain}: {made.plain:.1e}"]
    if made.rounded:
        lines.append(f"float64 with {made.rounded} gives its result to {made.left:.1e}")
    verdict.evidence[:0] = lines


def _names(calls: list[Call]) -> str:
    names = list(dict.fromkeys(call.key.operator for call in calls))
    return ", ".join(names[:6]) + (" ..." if len(names) > 6 else "")


def _acquit(suspect: Suspect, operators: list[Call], twin: nn.Module) -> None:
    """Nothing here is wrong by itself: it may be the other side, or the code between the operators."""
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
    if len(told) == 2 and told["a"] > 16 * max(told["b"], 1e-7):
        verdict.side = "a"
        verdict.provider = pair.a.provider.split(",")[0]
        verdict.evidence.insert(
            0,
            f"with the same inputs this device gives b's result to {told['b']:.1e}, which is right; a's is "
            f"{told['a']:.1e} from it",
        )


@torch.no_grad()
def clean_twin(step: RecordedStep) -> nn.Module:
    """The model of ``step`` on the CPU as its family builds it, with the same weights: nothing of a backend's in it."""
    parts, config = step.parts, step.parts.config
    twin = model_of(config)
    state = {name: value.detach().cpu() for name, value in parts.model.state_dict().items()}
    twin.load_state_dict(state)
    return twin
