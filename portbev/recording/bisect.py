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
from portbev.parity.dumps.record import Record
from portbev.recording.capture import Call, captured, mapped
from portbev.recording.dump import Plan, dump
from portbev.recording.judgement import accuse, acquit
from portbev.recording.replay import Replay, host_of, replay
from portbev.recording.step import RecordedStep, Source, prepare_step
from portbev.recording.values import tensors_in
from portbev.runtime import activated, find_backend

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
    chosen, notes = activated(backend, source.config.compute, emulate=emulate)
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
    verdict = suspect.verdict
    nearby = {_name_of(call): backward for call, backward in suspect.nearby}
    accused = {_name_of(call) for call in suspect.calls}
    modules = {module for module, _, _ in accused} or ({verdict.module} if suspect.pair is not None else set())
    if suspect.pair is not None and verdict.stage == "backward":
        modules.add(suspect.pair.b.key.module)  # what it does to its own result
    calls = captured(step, modules | {module for module, _, _ in nearby})
    verdict.live = f"{step.parts.backend.label}: {step.parts.backend.device_name()}"
    twin = clean_twin(step)
    right: list[Call] = []
    if suspect.pair is not None and _examine_accused(suspect, calls, accused, modules, twin, right):
        return
    if _examine_nearby(suspect, calls, nearby, twin):
        return
    if suspect.pair is not None:
        acquit(suspect, right)


def _name_of(call: Call | Record) -> tuple[str, str, int]:
    return call.key.module, call.key.operator, call.key.call


def _examine_accused(
    suspect: Suspect,
    calls: list[Call],
    accused: set[tuple[str, str, int]],
    modules: set[str],
    twin: nn.Module,
    right: list[Call],
) -> bool:
    """The operators that the files accuse, then their modules; whether one of them is wrong.

    Args:
        right: gets the operators that are not.
    """
    verdict = suspect.verdict
    backward = verdict.stage == "backward"
    operators = [c for c in calls if _name_of(c) in accused]
    for call in operators if backward else [refed(one, suspect) for one in operators]:
        made = _try(call, backward, twin, verdict)
        if made is not None and made.is_wrong:
            accuse(suspect, call, made)
            return True
        if made is not None:
            right.append(call)
    for name in sorted(modules, key=lambda name: name != verdict.module):
        for call in (c for c in calls if c.key.module == name and not c.key.operator):
            if suspect.calls and not backward and call.key.call != _module_call(suspect, name):
                continue
            if _examine_module(suspect, call, calls, backward, twin):
                return True
    return False


def _examine_module(suspect: Suspect, call: Call, calls: list[Call], backward: bool, twin: nn.Module) -> bool:
    """A module as a whole, and if it is wrong the operators in it; whether it is."""
    made = _try(call, backward, twin, suspect.verdict)
    if made is None or not made.is_wrong:
        return False
    inside = [c for c in calls if c.key.module == call.key.module and c.key.operator][:INSIDE]
    tried = [(one, _try(one, backward, twin, None)) for one in inside]
    wrong = next(((one, its) for one, its in tried if its is not None and its.is_wrong), None)
    if wrong is not None:
        accuse(suspect, *wrong)
    else:
        accuse(suspect, call, made, right=[one for one, its in tried if its is not None])
    return True


def _examine_nearby(
    suspect: Suspect, calls: list[Call], nearby: dict[tuple[str, str, int], bool], twin: nn.Module
) -> bool:
    """What stands out a little: each is fed its own inputs, so that what is wrong by itself is a cause.

    Of several, the one that is furthest from right.
    """
    worst: tuple[float, Call, Replay] | None = None
    for call in calls:
        name = _name_of(call)
        if name not in nearby:
            continue
        made = _try(call, nearby[name], twin, None)
        if made is not None and made.is_wrong and (worst is None or made.ratio > worst[0]):
            worst = made.ratio, call, made
    if worst is None:
        return False
    _, call, made = worst
    verdict = suspect.verdict
    place = call.key.module or "the model"
    if suspect.pair is None:
        verdict.kind = "kernel"
        verdict.evidence = ["no record differs by more than rounding did to the step so far"]
    else:
        verdict.evidence.insert(0, f"what is there is right for what it is given; before it, {place} is not")
    verdict.stage, verdict.record = made.what, str(call.key)
    accuse(suspect, call, made)
    return True


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


@torch.no_grad()
def clean_twin(step: RecordedStep) -> nn.Module:
    """The model of ``step`` on the CPU as its family builds it, with the same weights: nothing of a backend's in it."""
    parts, config = step.parts, step.parts.config
    twin = model_of(config)
    state = {name: value.detach().cpu() for name, value in parts.model.state_dict().items()}
    twin.load_state_dict(state)
    return twin
