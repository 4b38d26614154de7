"""Who is timed on a case: every provider that serves it, and the peers that are here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from portbev.backend import Backend
from portbev.bench.cases import Case
from portbev.bench.peers import PLAIN, Peer, Prepared, Tensors
from portbev.kernels import KERNELS, Candidates, Kernel
from portbev.ops.operator import OPERATORS
from portbev.plugins import plugins


@dataclass
class Contender:
    """One way to compute a case.

    Attributes:
        name: of the provider or the peer.
        ours: whether it is a provider of ours.
        same: whether it computes what ours computes.
        prepared: the call in its layout.
        trained: fields that a gradient is taken of.
        ready: called before it is timed; makes a provider the one that serves.
        note: what people should know of it.
    """

    name: str
    ours: bool
    prepared: Prepared
    trained: tuple[str, ...]
    same: bool = True
    ready: Callable[[], None] = field(default=lambda: None)
    note: str = ""

    def forward(self) -> Callable[[], Tensor]:
        """The forward alone, without gradients."""
        tensors, run = self.prepared.tensors, self.prepared.run

        def once() -> Tensor:
            with torch.no_grad():
                return run(tensors)

        return once

    def backward(self) -> Callable[[], object]:
        """The backward alone, of one forward whose graph is kept."""
        names = [name for name in self.prepared.tensors if name in self.trained]
        leaves = {name: self.prepared.tensors[name].detach().requires_grad_() for name in names}
        out = self.prepared.run({**self.prepared.tensors, **leaves})
        seed = torch.ones_like(out)
        return lambda: torch.autograd.grad(out, list(leaves.values()), seed, retain_graph=True)


def ranking(backend: Backend) -> dict[str, Candidates]:
    """All kernels that may serve on the backend, the fastest first, whatever their determinism."""
    return KERNELS.rank(backend.name, plugins().kernels(), deterministic="off")


def providers(
    case: Case, call: Any, backend: Backend, ranked: dict[str, Candidates]
) -> tuple[list[Contender], dict[str, str]]:
    """Providers in the order of ``ranked``, and why the others do not serve."""
    found, absent = [], dict(ranked[case.operator].excluded)
    for kernel in ranked[case.operator].kernels:
        reason = kernel.refusal(call)
        if reason is not None:
            absent[kernel.provider] = reason
            continue
        others = {**ranked, case.operator: Candidates([kernel], {})}

        def ready(others: dict[str, Candidates] = others) -> None:
            KERNELS.use(backend.device_type, others)

        trained, note = case.trained, _note(kernel)
        if trained and kernel.backward is None and not _by_formula(case.operator):
            trained, note = (), f"{note}, forward alone" if note else "forward alone"
        prepared = Prepared(_floats(call), lambda given: _first(OPERATORS[case.operator](call._replace(**given))))
        found.append(Contender(kernel.provider, True, prepared, trained, ready=ready, note=note))
    return found, absent


def peers(
    case: Case, call: Any, backend: Backend, ranked: dict[str, Candidates]
) -> tuple[list[Contender], dict[str, str]]:
    """Peers that are here and take the call, and why the others are not. Operators that they call are as ranked."""

    def ready() -> None:
        KERNELS.use(backend.device_type, ranked)

    found: list[Contender] = []
    absent: dict[str, str] = {}
    for peer in [*plugins().peers(), *PLAIN]:
        if peer.operator != case.operator:
            continue
        reason = peer.probe() or peer.supports(call) or _prepare(peer, case, call, found, ready)
        if reason is not None:
            absent[peer.name] = reason
    return found, absent


def _prepare(peer: Peer, case: Case, call: Any, found: list[Contender], ready: Callable[[], None]) -> str | None:
    try:
        prepared = peer.prepare(call)
    except Exception as error:  # a stranger's library may fail as it likes; the others are still measured
        return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    found.append(Contender(peer.name, False, prepared, case.trained, peer.same, ready, peer.note))
    return None


def _floats(call: Any) -> Tensors:
    return {
        name: value
        for name, value in call._asdict().items()
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    }


def _first(out: Any) -> Tensor:
    result: Tensor = out[0] if isinstance(out, tuple) else out
    return result


def _by_formula(operator: str) -> bool:
    """Whether the backward is written with functions that need no kernel of their own."""
    return not OPERATORS[operator].kept


def _note(kernel: Kernel) -> str:
    return "" if kernel.deterministic else "bits vary"
