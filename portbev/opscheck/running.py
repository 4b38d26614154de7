"""``portbev parity ops``: all subjects by all providers on a device."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch

from portbev.backend import Backend
from portbev.bench.contenders import ranking
from portbev.bench.models import config_names
from portbev.errors import PortbevError, nearest
from portbev.kernels import KERNELS, REFERENCE, Candidates, Kernel
from portbev.ops.operator import OPERATORS
from portbev.opscheck.checking import Finding, Oracle, check
from portbev.opscheck.document import Document
from portbev.opscheck.guesses import guess
from portbev.opscheck.portable import model_subjects, small_subjects
from portbev.opscheck.subject import Subject
from portbev.opscheck.torch_functions import torch_subjects
from portbev.opscheck.traced import traced_calls

DTYPES = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "float64": torch.float64,
}
TORCH = "torch"
"""Who computes a function of torch's own."""


@dataclass(frozen=True)
class Plan:
    """What is judged.

    Attributes:
        configs: configurations whose calls are judged; empty: those that the plugins offer.
        only: operators; empty: all.
        by: providers; empty: all.
        dtypes: names of :data:`DTYPES`.
        quick: the calls of configurations of a laptop's size alone.
    """

    configs: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    by: tuple[str, ...] = ()
    dtypes: tuple[str, ...] = ("float32", "float16", "bfloat16")
    quick: bool = False

    def subjects(self) -> list[Subject]:
        """The calls to judge; torch's settings are the host's afterwards.

        Raises:
            PortbevError: an operator or a dtype that there is not.
        """
        for name in self.dtypes:
            if name not in DTYPES:
                raise PortbevError(f"there is no {name!r}", where="--dtype", cure=nearest(name, DTYPES))
        dtypes = [DTYPES[name] for name in self.dtypes]
        small = config_names(quick=True) if not self.configs else list(self.configs)
        names = small if self.quick or self.configs else config_names(quick=False)
        found: list[Subject] = []
        if not self.only or any(name in OPERATORS for name in self.only):
            found += [*small_subjects(dtypes), *model_subjects(names, dtypes)]
        if any(name not in OPERATORS for name in self.only) or not self.only:
            calls = traced_calls([] if self.quick else names, small)
            wanted = [call for call in calls if not self.only or call.name in self.only]
            known = sorted({*OPERATORS, *(call.name for call in calls)})
            for name in self.only:
                if name not in known:
                    raise PortbevError(f"there is no operator {name!r}", where="--op", cure=nearest(name, known))
            found += torch_subjects(wanted, dtypes)
        return [subject for subject in found if not self.only or subject.operator in self.only]


@dataclass(frozen=True)
class Provider:
    """Who computes an operator: a kernel, or torch where there is none."""

    name: str
    kernel: Kernel | None


def run(
    backend: Backend,
    activated: Callable[[], Any],
    plan: Plan,
    document: Document,
    tick: Callable[[int, int, str], None],
) -> None:
    """Judge; an interruption ends it early and keeps what was judged.

    Args:
        backend: whose device is judged.
        activated: activates it, after the subjects were collected on the host.
        tick: told how many subjects are done, of how many, and the next one's operator.

    Raises:
        PortbevError: see :meth:`Plan.subjects`.
    """
    subjects = plan.subjects()
    activated()
    ranked = ranking(backend)
    known = sorted({TORCH, *(kernel.provider for found in ranked.values() for kernel in found.kernels)})
    for name in plan.by:
        if name not in known:
            raise PortbevError(f"there is no provider {name!r} here", where="--by", cure=nearest(name, known))
    done = document.rows()
    try:
        for number, subject in enumerate(subjects):
            tick(number, len(subjects), subject.operator)
            offered, absent = _providers(subject, ranked)
            wanted = [one for one in offered if not plan.by or one.name in plan.by]
            left = [one for one in wanted if _key(subject, one.name) not in done]
            for name, reason in absent.items():
                if _key(subject, name) not in done and (not plan.by or name in plan.by):
                    document.add({**_row(subject, name), "verdict": "absent", "reason": reason})
            if left:
                oracle = Oracle.of(subject)
                found = [judged(oracle, provider, backend, ranked) for provider in left]
                if found[-1]["by"] in (REFERENCE, TORCH) and all(row["verdict"] == "absent" for row in found):
                    found[-1] = _served_by_nobody(subject, found[-1])
                for row in found:
                    document.add(row)
        tick(len(subjects), len(subjects), "")
        document.end("finished")
    except KeyboardInterrupt:
        document.end("interrupted")
    finally:
        KERNELS.use(backend.device_type, ranked)


def judged(oracle: Oracle, provider: Provider, backend: Backend, ranked: dict[str, Candidates]) -> dict[str, Any]:
    """One row: a subject by a provider."""
    subject, kernel = oracle.subject, provider.kernel
    trained, notes = subject.trained, []
    if kernel is not None:
        KERNELS.use(backend.device_type, {**ranked, subject.operator: Candidates([kernel], {})})
        if kernel.backward is None and OPERATORS[subject.operator].kept:
            trained, notes = (), ["forward alone: its gradients are another provider's"]
    row = _row(subject, provider.name)
    try:
        try:
            finding = check(oracle, backend.device(), trained, repeats=kernel is None or kernel.deterministic)
        except PortbevError as error:
            if kernel is None or not _passed(subject.operator, provider.name, "backward"):
                reason = _passed(subject.operator, provider.name, "forward") or str(error)
                return {**row, "verdict": "absent", "reason": reason}
            notes.append(f"forward alone: {_passed(subject.operator, provider.name, 'backward')}")
            finding = check(oracle, backend.device(), (), repeats=kernel.deterministic)
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        half = kernel is None and subject.dtype in (torch.float16, torch.bfloat16)
        if half or (kernel is not None and kernel.provider == REFERENCE and isinstance(error, NotImplementedError)):
            return {**row, "verdict": "absent", "reason": reason}
        look = "what a model calls is not there" if kernel is None else "it took the call and failed"
        return {**row, "verdict": "fault", "faults": [f"raises {reason}"], "look_at": look}
    return {**row, **_found(oracle, finding, notes)}


def _served_by_nobody(subject: Subject, row: dict[str, Any]) -> dict[str, Any]:
    """The last one's row, where all passed a call over that models make; in half precision they make none by hand."""
    if subject.dtype in (torch.float16, torch.bfloat16):
        return row
    return {**row, "verdict": "fault", "faults": [f"no provider takes the call: {row['reason']}"], "look_at": ""}


def _found(oracle: Oracle, finding: Finding, notes: list[str]) -> dict[str, Any]:
    figures = {name: one.as_json() for name, one in finding.figures.items()}
    verdict = "fault" if finding.faults else "rounding"
    look = guess(oracle, finding) if finding.faults else ""
    return {
        "verdict": verdict,
        "faults": finding.faults,
        "look_at": look,
        "notes": [*notes, *finding.notes],
        "results": figures,
    }


def _providers(subject: Subject, ranked: dict[str, Candidates]) -> tuple[list[Provider], dict[str, str]]:
    """Who takes the call, and why the others do not."""
    if subject.operator not in ranked:
        return [Provider(TORCH, None)], {}
    candidates = ranked[subject.operator]
    return [Provider(kernel.provider, kernel) for kernel in candidates.kernels], dict(candidates.excluded)


def _passed(operator: str, provider: str, direction: str) -> str:
    """Why a provider passed a call over in a direction; "" if it did not."""
    for name, who, reason in KERNELS.ledger.passed:
        if (name, who) == (operator, provider) and reason.startswith(f"{direction}: "):
            return reason.removeprefix(f"{direction}: ")
    return ""


def _key(subject: Subject, provider: str) -> str:
    return f"{subject.key}|{provider}"


def _row(subject: Subject, provider: str) -> dict[str, Any]:
    return {
        "key": _key(subject, provider),
        "operator": subject.operator,
        "by": provider,
        "dtype": str(subject.dtype).removeprefix("torch."),
        "case": subject.case,
        "size": subject.size,
        "scaled_from": subject.scaled_from,
    }


def faults(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with a fault."""
    return [row for row in rows if row["verdict"] == "fault"]
