"""``portbev bench ops``: each operator at the models' shapes, by every provider and beside every peer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from portbev.backend import Backend
from portbev.bench import limits as device_limits
from portbev.bench import resources, sketches
from portbev.bench.cases import Case, find_cases
from portbev.bench.contenders import Contender, peers, providers, ranking
from portbev.bench.document import Document, head
from portbev.bench.limits import Limits
from portbev.bench.models import config_names
from portbev.bench.tables import ops_table
from portbev.bench.timing import FULL, QUICK, Clock, Timed, Timer, ratio
from portbev.bench.traffic import Work
from portbev.errors import PortbevError, nearest
from portbev.kernels import Candidates
from portbev.ops.operator import OPERATORS

Direction = Literal["forward", "backward"]
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
CLOCKS = get_args(Clock)
Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What is measured.

    Attributes:
        configs: configurations whose calls are measured; empty: those that the plugins offer.
        overrides: changes of the configurations, ``key=value``.
        only: operators; empty: all.
        dtypes: of what may be in half precision.
        quick: laptop sizes and few samples.
        clock: ``wall``, or ``cpu``: the process's CPU time, for a host that others use too.
    """

    configs: tuple[str, ...] = ()
    overrides: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32",)
    quick: bool = False
    clock: Clock = "wall"

    def check(self) -> None:
        """Raise a PortbevError for an operator or a dtype that there is not."""
        asked = ((self.only, OPERATORS, "--only"), (self.dtypes, DTYPES, "--dtype"), ((self.clock,), CLOCKS, "--clock"))
        for names, known, option in asked:
            for name in names:
                if name not in known:
                    raise PortbevError(f"there is no {name!r}", where=option, cure=nearest(name, known))

    def cases(self) -> list[Case]:
        """The calls to measure.

        Raises:
            PortbevError: no configuration calls an operator of ``only``.
        """
        names = self.configs or config_names(quick=self.quick)
        found = [case for case in find_cases(names, self.overrides) if not self.only or case.operator in self.only]
        missing = [name for name in self.only if all(case.operator != name for case in found)]
        if missing or not found:
            cure = "Name a configuration that calls it" + ("" if not self.quick else ", or leave out --quick")
            what = f"no call of {', '.join(missing) or 'an operator'} in a step of {', '.join(names)}"
            raise PortbevError(what, where="--only", cure=cure)
        return found


def run_ops(backend: Backend, plan: Plan, folder: Path | None, say: Say, tick: Callable[[int, int], None]) -> Document:
    """Measure; an interruption ends it early and keeps what was measured.

    Args:
        backend: activated.
        folder: where JSON and table go; None: nowhere.
        tick: told how many cases are done, and of how many.

    Raises:
        PortbevError: see :meth:`Plan.check` and :meth:`Plan.cases`.
    """
    plan.check()
    timer = Timer(backend, plan.clock)
    cases = [(case, dtype) for case in plan.cases() for dtype in plan.dtypes if _worth(case, dtype)]
    say(f"measuring what {backend.device_name()} can do at most")
    limits = device_limits.measure(backend, timer, [DTYPES[name] for name in dict.fromkeys(("float32", *plan.dtypes))])
    ranked = ranking(backend)
    settings = {"quick": plan.quick, "method": timer.method, "limits": limits.as_json(), "units": UNITS}
    document = Document("ops", head(backend, **settings), ops_table, folder)
    try:
        for number, (case, dtype) in enumerate(cases):
            tick(number, len(cases))
            document.add(measure(case, dtype, backend, ranked, timer, limits, quick=plan.quick))
        tick(len(cases), len(cases))
        document.end("finished")
    except KeyboardInterrupt:
        document.end("interrupted")
    return document


UNITS = {
    "seconds": "median of a call",
    "ratio": "median of the ratios to the first provider's neighbouring samples; above 1 is slower",
    "of_limit": "least time by bytes and FLOPs over the time taken; 1 is the limit, which what fits a cache may exceed",
    "memory": "bytes on top of what is there before the call, where the device counts them",
    "joules": "of a call, idle power included",
    "difference": "largest difference of the result to the first provider's, over its largest value",
}


def _worth(case: Case, dtype: str) -> bool:
    """Whether the operator takes that dtype."""
    return dtype == "float32" or bool(sketches.sketch_of(case.operator).halved)


def measure(
    case: Case,
    dtype: str,
    backend: Backend,
    ranked: dict[str, Candidates],
    timer: Timer,
    limits: Limits,
    *,
    quick: bool,
) -> dict[str, Any]:
    """One row: a case in a dtype by all contenders, forward and, where the model trains through it, backward."""
    call = case.values(backend.device(), DTYPES[dtype])
    served, absent = providers(case, call, backend, ranked)
    others, not_here = peers(case, call, backend, ranked)
    row: dict[str, Any] = {
        "operator": case.operator,
        "models": case.models,
        "shapes": case.shapes,
        "dtype": dtype,
        "trained": list(case.trained),
        "absent": {**absent, **not_here},
    }
    work = in_dtype(case, call)
    for direction in ("forward", "backward") if case.trained else ("forward",):
        moved = work[direction]
        row[direction] = {"bytes": moved.bytes, "flops": moved.flops}
        row[direction]["results"] = _direction(
            direction, [*served, *others], moved, dtype, backend, timer, limits, quick
        )
    return row


def in_dtype(case: Case, call: Any) -> dict[str, Work]:
    """The work of a call by direction, with the sizes that its tensors have here."""
    bare = {
        name: torch.empty_like(value, device="meta") if isinstance(value, Tensor) and name != "counts" else value
        for name, value in call._asdict().items()
    }
    found = Case(case.operator, call._replace(**bare), case.trained).traffic()
    return {"forward": found.forward} | ({} if found.backward is None else {"backward": found.backward})


def _direction(
    direction: str,
    contenders: Sequence[Contender],
    work: Work,
    dtype: str,
    backend: Backend,
    timer: Timer,
    limits: Limits,
    quick: bool,
) -> list[dict[str, Any]]:
    runs: list[tuple[Contender, Timed, dict[str, Any]]] = []
    results: list[dict[str, Any]] = []
    truth: Tensor | None = None
    for one in contenders:
        if direction == "backward" and not one.trained:
            continue
        result: dict[str, Any] = {"name": one.name, "ours": one.ours, "same": one.same, "note": one.note}
        results.append(result)
        try:
            one.ready()
            if direction == "forward":
                run: Callable[[], Any] = one.forward()
                truth = _compare(one, run(), truth, result)
            else:
                run = one.backward()
            result["memory"] = resources.extra_memory(backend, run)
        except (RuntimeError, MemoryError, ImportError, PortbevError, NotImplementedError, AssertionError) as error:
            result["failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            continue
        runs.append((one, Timed(run, one.ready), result))
    timer.by_turns([timed for _, timed, _ in runs], QUICK if quick else FULL)
    for number, (one, timed, result) in enumerate(runs):
        least = work.seconds(limits.bandwidth, limits.peak(dtype) or float("inf"))
        result.update(
            seconds=timed.median,
            samples=len(timed.samples),
            calls=timed.calls,
            ratio=ratio(timed.samples, runs[0][1].samples),
            bytes_per_s=work.bytes / timed.median,
            flops_per_s=work.flops / timed.median,
            of_limit=least / timed.median if one.same else None,
        )
        if number == 0 and not quick:
            one.ready()
            result["joules"] = resources.energy(backend, timed.run)
    return results


def _compare(one: Contender, out: Tensor, truth: Tensor | None, result: dict[str, Any]) -> Tensor | None:
    """How far a result is from the first one's; returns the first."""
    if not one.same:
        return truth
    found = one.prepared.ours(out).detach().to("cpu")
    found = found if found.is_complex() else found.float()
    if truth is None:
        return found
    result["difference"] = float((found - truth).abs().max() / truth.abs().max().clamp(min=1e-30))
    return truth


def failed(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Our own providers that raised an error: what should never be."""
    return [
        f"{row['operator']} by {result['name']}, {direction}: {result['failed']}"
        for row in rows
        for direction in ("forward", "backward")
        for result in row.get(direction, {}).get("results", [])
        if result["ours"] and "failed" in result
    ]
