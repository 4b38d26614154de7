"""A dump of a step, from nothing to its folder: the step is recorded, then taken again for the bands."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from portbev import comm as comms
from portbev.backend import Backend
from portbev.determinism import forecast, listening
from portbev.failures import in_one_line
from portbev.kernels import KERNELS
from portbev.nn.map_format import has_formats, other_formats
from portbev.parity.dumps import writing
from portbev.parity.dumps.bands import ULP_STEPS
from portbev.parity.dumps.header import File, Header, Rank, Rerun, StepFacts
from portbev.parity.dumps.one_pass import seek_one_pass
from portbev.parity.dumps.record import Key, Record
from portbev.parity.dumps.sketch import Level, distance
from portbev.recording.modules import module_settings
from portbev.recording.recorder import Recorder
from portbev.recording.step import Kind, RecordedStep, Source, local_device, prepare_step
from portbev.runs.ledger import LedgerPage
from portbev.runtime import activated

COMPILED = "one compiled pass over each tensor"
DEVICE = "torch on the device"


@dataclass(frozen=True)
class Plan:
    """What is recorded.

    Attributes:
        tensors: patterns of modules whose tensors are kept whole.
        bands: take the step again to measure what rounding does to each record; needs the level ``sketch``.
    """

    kind: Kind = "train"
    level: Level = "sketch"
    tensors: tuple[str, ...] = ()
    bands: bool = True


def dump(
    source: Source,
    out: Path | str,
    plan: Plan = Plan(),
    *,
    backend: Backend | str = "auto",
    emulate: bool = False,
    data_root: Path | str | None = None,
    init: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Record a step of ``source`` and write a dump; with several processes, each writes its own records into it.

    Returns:
        The dump's folder.

    Raises:
        PortbevError: as training would, or ``out`` cannot be written. Nothing is left at ``out`` then.
    """
    out = Path(out)
    chosen, notes = activated(backend, source.config.compute, emulate=emulate)
    with comms.join(chosen) as comm, in_one_line(), listening():
        comm.on_main(lambda: writing.begin(out))
        try:
            notes = [*notes, *forecast(source.config.compute.deterministic)]
            step = prepare_step(
                source,
                backend=chosen,
                comm=comm,
                kind=plan.kind,
                data_root=data_root,
                init=init,
                say=say,
                notes=notes,
            )
            record_step(step, out, plan, say=say)
        except BaseException:
            if comm.is_main:
                writing.abandon(out)
            raise
    return out


def record_step(step: RecordedStep, out: Path, plan: Plan, *, say: Callable[[str], None] = lambda _: None) -> Header:
    """Record ``step`` into the dump that :func:`portbev.parity.dumps.writing.begin` made room for."""
    parts, comm = step.parts, step.parts.comm
    on_host = not parts.backend.sums_wide
    writer = writing.RankWriter(out, comm.rank)
    base = _Base(writer)
    sketched_by = _sketched_by(step, on_host)
    if sketched_by not in (COMPILED, DEVICE):
        say(f"sketches are made by {sketched_by}")
    say(f"recording {plan.kind} step {step.number} ({plan.level})")
    seconds, ended = step.take(Recorder(base, plan.level, plan.tensors, on_host=on_host))
    kernels = KERNELS.ledger.snapshot()
    again = plan.bands and plan.level == "sketch" and not ended
    reruns = _rerun(step, base, writer, on_host, say) if again else []
    files = comm.gather(writer.close())
    tokens = [list(map(str, batch["tokens"])) for batch in step.batches]
    name = parts.backend.device_name(local_device(parts.backend))
    ranks = comm.gather({"rank": comm.rank, "device_name": name, "tokens": tokens, "records": writer.count})
    record = parts.writer.record
    record.status, record.command = "finished", list(sys.argv)
    record.kernels = {operator: LedgerPage.model_validate(page) for operator, page in kernels.items()}
    header = Header(
        run=record,
        step=StepFacts(kind=plan.kind, number=step.number, epoch=step.epoch),
        level=plan.level,
        weights=base.weights(),
        optimizer=_groups(step) if plan.kind == "train" else [],
        average={} if parts.ema is None else {"decay": parts.ema.decay, "ramp": parts.ema.ramp},
        modules=module_settings(step.parts.model),
        tensors=list(plan.tensors),
        ranks=[Rank.model_validate(rank) for rank in ranks],
        reruns=reruns,
        sketched_by=sketched_by,
        seconds=seconds,
        ended=ended,
        files={name: File.model_validate(facts) for mine in files for name, facts in mine.items()},
    )
    comm.on_main(lambda: writing.finish(out, header))
    return header


@dataclass
class _Base:
    """Passes records on to the writer and keeps what the later steps are compared with: sketches and arguments."""

    writer: writing.RankWriter
    known: dict[Key, Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        self.writer.add(record)
        self.known[record.key] = replace(record, inputs=())

    def add_tensor(self, record: Record, tensor: Tensor) -> str:
        return self.writer.add_tensor(record, tensor)

    def weights(self) -> str:
        """Digest of the parameters and buffers before the step."""
        named = [
            (key.role, key.module, list(record.sketch.shape), record.sketch.dtype, record.sketch.hash)
            for key, record in self.known.items()
            if key.role in ("parameter", "buffer") and record.sketch is not None
        ]
        return hashlib.sha256(json.dumps(sorted(named)).encode()).hexdigest()


class _Responses:
    """How far each record of a later step is from the one with the same key, and whether its arguments are others."""

    def __init__(self, base: _Base) -> None:
        self._base = base
        self.moved: dict[int, float | None] = {}
        self.arguments: set[int] = set()

    def add(self, record: Record) -> None:
        found = self._base.known.get(record.key)
        if found is None:
            return
        if found.arguments != record.arguments:
            self.arguments.add(found.n)
        if found.sketch is not None and record.sketch is not None:
            self.moved[found.n] = distance(found.sketch, record.sketch)

    def add_tensor(self, record: Record, tensor: Tensor) -> str:
        raise AssertionError("no tensors are kept of a step that is taken again")


def _rerun(
    step: RecordedStep, base: _Base, writer: writing.RankWriter, on_host: bool, say: Callable[[str], None]
) -> list[Rerun]:
    """Take the step again, moved by one unit in the last place, and with sums in another order where that can be."""
    reordered = step.parts.backend.other_order()
    ways: list[tuple[Rerun, int | None, AbstractContextManager[Any] | None]] = [
        (Rerun(kind="ulp", how=f"weights and inputs moved by one ULP, coins {seed}", seconds=0), seed, None)
        for seed in range(ULP_STEPS)
    ]
    if reordered is not None:
        how, within = reordered
        ways.append((Rerun(kind="order", how=how, seconds=0), None, within))
    if has_formats(step.parts.model):
        how = "feature maps in the other memory format, whose sums are in another order"
        ways.append((Rerun(kind="order", how=how, seconds=0), None, other_formats(step.parts.model)))
    found: list[_Responses] = []
    for rerun, seed, way in ways:
        say(f"again: {rerun.how}")
        responses = _Responses(base)
        rerun.seconds, _ = step.take(Recorder(responses, on_host=on_host), moved=seed, within=way)
        found.append(responses)
    for record in base.known.values():
        moved = [one.moved.get(record.n) for one in found] if record.sketch is not None else []
        arguments = any(record.n in one.arguments for one in found)
        if arguments or any(value != 0.0 for value in moved):
            writer.add_responses(record.n, moved, arguments=arguments)
    return [rerun for rerun, _, _ in ways]


def _sketched_by(step: RecordedStep, on_host: bool) -> str:
    if step.parts.device.type != "cpu" and not on_host:
        return DEVICE
    reason = seek_one_pass().reason
    return f"torch, which takes longer: {reason}" if reason else COMPILED


def _groups(step: RecordedStep) -> list[dict[str, Any]]:
    """The optimizer's groups of parameters: their names, and the hyperparameters that are numbers or flags."""
    names = {id(parameter): name for name, parameter in step.parts.model.named_parameters()}
    groups: Sequence[dict[str, Any]] = step.parts.optimizer.param_groups
    return [
        {
            "parameters": [names[id(parameter)] for parameter in group["params"]],
            **{key: value for key, value in sorted(group.items()) if isinstance(value, (bool, int, float, str, tuple))},
        }
        for group in groups
    ]
