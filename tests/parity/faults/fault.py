"""What a fault is, and the backend that has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from torch import nn

from portbev.backend import Backend
from portbev.hookspecs import hookimpl
from portbev.kernels import Kernel
from portbev.plugins import plugins
from portbev_cpu.backend import CpuBackend

NAME = "faulty"
PROVIDER = "planted"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        kind: what ``parity bisect`` must call it.
        where: pattern (fnmatch) of the module or stage that it must name.
        config, settings: where it shows.
        operator: of :mod:`portbev.ops` that it lives in, which ``parity ops`` must accuse; empty for none.
        kernels: made when they are asked for, because the operators must be there.
        in_model: called on the model by the backend's ``prepare_model``.
        around: entered when the backend is activated in a process of its own, or around the whole of a test: patches
            what belongs to no model.
        ranks: processes that it takes to show.
        live: ask the device too. Not where ``around`` changes torch itself, which the host would compute with as well,
            and not where the files decide.
    """

    name: str
    kind: str
    where: str
    config: str = "bevformer/tiny_test"
    settings: tuple[str, ...] = ()
    operator: str = ""
    kernels: Callable[[], list[Kernel]] = list
    in_model: Callable[[nn.Module], None] = lambda model: None
    around: Callable[[], Any] = nullcontext
    ranks: int = 1
    live: bool = True


class FaultyBackend(CpuBackend):
    """The CPU under another name, with a fault."""

    name = NAME

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    def prepare_model(self, model: nn.Module, compute: Any) -> list[str]:
        notes = super().prepare_model(model, compute)
        self.fault.in_model(model)
        return notes


class FaultyPlugin:
    """Offers the backend, and the CPU's own kernels beside those that are planted."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault

    @hookimpl
    def portbev_backends(self) -> list[Backend]:
        return [FaultyBackend(self.fault)]

    @hookimpl
    def portbev_kernels(self) -> list[Kernel]:
        import portbev.ops  # noqa: F401  (registers the operators that faults change)

        return self.fault.kernels()


@contextmanager
def planted(fault: Fault) -> Iterator[None]:
    """Offer the backend ``faulty`` in this process while inside."""
    found = plugins()
    plugin = FaultyPlugin(fault)
    found.register(plugin, NAME)
    found._cache.clear()
    try:
        with fault.around():
            yield
    finally:
        found.manager.unregister(plugin)
        found._cache.clear()
