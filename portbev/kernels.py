"""Kernel records, their ranking, and the ledger of who served what.

An operator of :mod:`portbev.ops` puts the arguments of a call into one named tuple and hands it to
:meth:`Kernels.dispatch`. The kernels of each operator are ranked once, when a backend is activated; a call walks that
short list and is served by the first kernel that supports it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from portbev.errors import PortbevError, nearest
from portbev.precision import Determinism

Direction = Literal["forward", "backward"]
REFERENCE = "reference"
VENDOR = 10
"""From this priority on a kernel is a provider's own; below it is plain code that stands in, as the reference does."""


def _always(call: Any) -> str | None:
    return None


def _present() -> str | None:
    return None


@dataclass(frozen=True)
class Kernel:
    """One provider's implementation of one operator.

    ``call`` is the operator's named tuple of arguments, for example :class:`portbev.ops.voxel_pool.VoxelPoolCall`.
    ``grad_out`` is the gradient of a loss by the operator's result.

    Attributes:
        operator: name in :mod:`portbev.ops`, for example ``voxel_pool``.
        provider: who computes: ``mx_driving``, ``torch_npu``, ``triton``, ``reference`` ...
        forward: ``forward(call)`` returns exactly the operator's results.
        backward: ``backward(grad_out, call)`` returns exactly the results of the operator's backward operator. None
            leaves the backward to the next provider.
        backends: names of the backends it serves; empty for all.
        supports: ``supports(call)`` is None if it can serve the call, else the reason why not.
        supports_backward: ``supports_backward(grad_out, call)``, the same for the backward. None: ``supports`` is asked
            in both directions.
        priority: higher is asked first; the reference has 0, plain code like it less than :data:`VENDOR`.
        deterministic: whether equal arguments give equal bits. Others are passed over where that is required, and asked
            after those of other providers, but before the reference, where it is preferred.
        probe: None if the provider is usable in this process, else the reason with its cure. Called at activation.
    """

    operator: str
    provider: str
    forward: Callable[[Any], Any]
    backward: Callable[[Any, Any], Any] | None = None
    backends: tuple[str, ...] = ()
    supports: Callable[[Any], str | None] = _always
    supports_backward: Callable[[Any, Any], str | None] | None = None
    priority: int = 10
    deterministic: bool = True
    probe: Callable[[], str | None] = _present

    def refusal(self, call: Any, grad_out: Any = None) -> str | None:
        """Why it cannot serve ``call``, or its backward if ``grad_out`` is given; None if it can."""
        if grad_out is None:
            return self.supports(call)
        if self.backward is None:
            return "has no backward"
        return self.supports(call) if self.supports_backward is None else self.supports_backward(grad_out, call)

    def run(self, call: Any, grad_out: Any = None) -> Any:
        """The results of ``call``, or its gradients if ``grad_out`` is given."""
        if grad_out is None:
            return self.forward(call)
        if self.backward is None:
            raise NotImplementedError(f"{self.operator} by {self.provider} has no backward")
        return self.backward(grad_out, call)


@dataclass
class Ledger:
    """Which provider served each operator, how often, and why others were passed over."""

    served: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (operator, direction, provider)
    passed: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # (operator, provider, reason)
    varying: set[tuple[str, str]] = field(default_factory=set)  # (operator, provider) that served and may vary in bits
    torch: set[str] = field(default_factory=set)  # functions of torch's own that said that they may
    settings: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # operator -> kernel -> how launched

    def snapshot(self) -> dict[str, Any]:
        """As JSON: operator -> ``forward`` and ``backward`` (provider -> calls), ``passed_over`` (list of records), and
        where there are any ``not_deterministic`` (providers that served) and ``settings`` (how they were launched)."""
        book: dict[str, Any] = {}
        for (operator, direction, provider), calls in sorted(self.served.items()):
            page = book.setdefault(operator, {"forward": {}, "backward": {}, "passed_over": []})
            page[direction][provider] = calls
        for (operator, provider, reason), times in sorted(self.passed.items()):
            page = book.setdefault(operator, {"forward": {}, "backward": {}, "passed_over": []})
            page["passed_over"].append({"provider": provider, "reason": reason, "times": times})
        for operator, provider in sorted(self.varying):
            book[operator].setdefault("not_deterministic", []).append(provider)
        for operator, launched in sorted(self.settings.items()):
            book.setdefault(operator, {"forward": {}, "backward": {}, "passed_over": []})["settings"] = launched
        return book

    def clear(self) -> None:
        self.served.clear()
        self.passed.clear()
        self.varying.clear()
        self.torch.clear()
        self.settings.clear()


@dataclass
class Candidates:
    """Ranked kernels of one operator for one backend, and those that are out of the question with the reason."""

    kernels: list[Kernel]
    excluded: dict[str, str]  # provider -> reason


class Kernels:
    """The reference kernels of all operators, and the ranked candidates of the active backend."""

    def __init__(self) -> None:
        self.references: dict[str, Kernel] = {}
        self.ledger = Ledger()
        self._active: dict[str, Candidates] = {}
        self._device_type = "cpu"

    def add_reference(self, kernel: Kernel) -> None:
        """Register an operator by its reference kernel (called by :mod:`portbev.ops`, once per operator)."""
        self.references[kernel.operator] = kernel

    def rank(
        self,
        backend: str,
        offered: Iterable[Kernel],
        *,
        deterministic: Determinism = "preferred",
        choice: Mapping[str, str] | None = None,
    ) -> dict[str, Candidates]:
        """Rank ``offered`` and the references for ``backend``.

        Args:
            deterministic: ``required`` leaves out kernels that are not, ``preferred`` asks them after those of other
                providers and before plain code, ``off`` goes by priority alone.
            choice: operator -> provider that alone may serve it (``--kernel``); ``all`` speaks for those not named.

        Raises:
            PortbevError: a chosen operator or provider does not exist or cannot be used.
        """
        choice = dict(choice or {})
        _known(choice, set(self.references) | {"all"}, "operator")
        everything = [*offered, *self.references.values()]
        ranked: dict[str, Candidates] = {}
        for operator in self.references:
            found = Candidates([], {})
            own = [kernel for kernel in everything if kernel.operator == operator]
            for kernel in sorted(own, key=lambda kernel: _place(kernel, deterministic)):
                reason = _excluded(kernel, backend, deterministic)
                if reason is None:
                    found.kernels.append(kernel)
                elif reason:
                    found.excluded[kernel.provider] = reason
            wanted = choice.get(operator, choice.get("all"))
            if wanted is not None:
                _choose(operator, wanted, found, everything, backend, strict=operator in choice)
            ranked[operator] = found
        return ranked

    def use(self, device_type: str, ranked: dict[str, Candidates]) -> None:
        """Serve tensors of ``device_type`` from ``ranked`` and start a new ledger."""
        self._active, self._device_type = ranked, device_type
        self.ledger.clear()
        for operator, found in ranked.items():
            for provider, reason in found.excluded.items():
                self.ledger.passed[operator, provider, reason] += 1

    def ranked(self) -> Mapping[str, Candidates]:
        """The candidates of the active backend by operator; empty before one is activated."""
        return self._active

    @contextmanager
    def references_alone(self) -> Iterator[None]:
        """Inside, the references serve every call, and the ledger does not hear of it."""
        active, ledger = self._active, self.ledger
        self._active, self.ledger = {}, Ledger()
        try:
            yield
        finally:
            self._active, self.ledger = active, ledger

    def candidates(self, operator: str, device_type: str) -> list[Kernel]:
        """Kernels to ask, best first; tensors of another device than the active backend's get the reference."""
        if device_type == self._device_type and operator in self._active:
            return self._active[operator].kernels
        return [self.references[operator]]

    def dispatch(self, operator: str, device_type: str, call: Any, grad_out: Any = None) -> Any:
        """Run the best kernel that supports ``call`` and write it down in the ledger.

        Args:
            device_type: where the tensors of the call are.
            call: the operator's named tuple of arguments.
            grad_out: asks for the backward: the gradient by the operator's result.

        Raises:
            PortbevError: no kernel supports the call.
        """
        direction: Direction = "forward" if grad_out is None else "backward"
        for kernel in self.candidates(operator, device_type):
            reason = kernel.refusal(call, grad_out)
            if reason is None:
                self.ledger.served[operator, direction, kernel.provider] += 1
                if not kernel.deterministic:
                    self.ledger.varying.add((operator, kernel.provider))
                return kernel.run(call, grad_out)
            self.ledger.passed[operator, kernel.provider, f"{direction}: {reason}"] += 1
        raise PortbevError(
            f"no provider serves {operator} ({direction}) for these arguments",
            cure=f"Leave the reference among the candidates (drop --kernel {operator}=...)",
        )


KERNELS = Kernels()
"""The process's kernels. torch has one set of operators in a process, so there is one table behind them."""


def _place(kernel: Kernel, deterministic: Determinism) -> tuple[bool, bool, int]:
    """Where a kernel stands in the ranking; the smallest is asked first."""
    if deterministic == "off":
        return (False, False, -kernel.priority)
    stands_in = kernel.priority < VENDOR
    return (stands_in, not stands_in and not kernel.deterministic, -kernel.priority)


def _excluded(kernel: Kernel, backend: str, deterministic: Determinism) -> str | None:
    """None if usable, "" if meant for another backend (not worth a line), else the reason."""
    if kernel.backends and backend not in kernel.backends:
        return ""
    if deterministic == "required" and not kernel.deterministic:
        return "not deterministic"
    try:
        return kernel.probe()
    except Exception as error:
        return f"probe failed: {type(error).__name__}: {error}"


def _known(choice: Mapping[str, str], known: set[str], what: str) -> None:
    for name in choice:
        if name not in known:
            raise PortbevError(f"unknown {what} {name!r}", where="--kernel", cure=nearest(name, known))


def _choose(
    operator: str, wanted: str, found: Candidates, everything: list[Kernel], backend: str, *, strict: bool
) -> None:
    """Keep only the chosen provider. ``all=PROVIDER`` leaves operators alone that the provider does not have."""
    kept = [k for k in found.kernels if k.provider == wanted]
    if not kept:
        if not strict and wanted not in found.excluded:
            return
        here = (k for k in everything if k.operator == operator and (not k.backends or backend in k.backends))
        offered = ", ".join(sorted({k.provider for k in here}))
        reason = found.excluded.get(wanted, f"backend {backend} has no such provider")
        what = f"{operator}={wanted} cannot be used: {reason}"
        raise PortbevError(what, where="--kernel", cure=f"Providers here: {offered}")
    for kernel in found.kernels:
        if kernel.provider != wanted:
            found.excluded[kernel.provider] = f"--kernel {operator}={wanted}"
    found.kernels[:] = kept
