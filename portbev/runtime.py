"""Choosing and activating a backend."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, get_args

from portbev.backend import Backend
from portbev.errors import BackendError, PortbevError, nearest
from portbev.kernels import KERNELS
from portbev.launcher import launch
from portbev.plugins import Plugins, plugins
from portbev.precision import Determinism, Precision

if TYPE_CHECKING:
    from portbev.config import ComputeSection


def backends_here(among: Plugins | None = None) -> dict[str, Backend]:
    """Backends by name as this process has them: those whose emulated device is installed say so."""
    found = among or plugins()
    emulated = {name for name, emulator in found.emulators().items() if emulator.installed()}
    return {name: backend.as_emulated() if name in emulated else backend for name, backend in found.backends().items()}


def find_backend(name: str = "auto", *, emulate: bool = False, among: Plugins | None = None) -> Backend:
    """Backend ``name``, probed and usable.

    Args:
        name: a backend's name, or ``auto`` for the best available one that is not emulated.
        emulate: install the emulated device of that name first; it stays until the process ends.

    Raises:
        BackendError: unknown name, absent device (with what is missing and the cure), or nothing to emulate.
    """
    found = among or plugins()
    if name == "auto":
        if emulate:
            cure = "For example: --backend npu --emulate"
            raise BackendError("--emulate needs a named backend", where="--backend auto", cure=cure)
        every = backends_here(found).values()
        real = [backend for backend in every if not backend.emulated and backend.probe().available]
        return max(real, key=lambda backend: backend.priority)
    if name not in found.backends():
        cure = nearest(name, found.backends()) + found.said()
        raise BackendError(f"unknown backend {name!r}", where="--backend", cure=cure)
    if emulate:
        _emulate(name, found)
    backend = backends_here(found)[name]
    state = backend.probe()
    if not state.available:
        offer = f"; or try it without the device: --backend {name} --emulate" if name in found.emulators() else ""
        raise BackendError(f"backend {name!r} is not available: {state.reason}", cure=f"{state.cure}{offer}")
    return backend


def why_auto(chosen: Backend, among: Plugins | None = None) -> str:
    """How ``--backend auto`` came to ``chosen``: what else is here, and what is not."""
    others = [backend for backend in backends_here(among).values() if backend.name != chosen.name]
    here = sorted(backend.name for backend in others if not backend.emulated and backend.probe().available)
    absent = sorted(backend.name for backend in others if backend.emulated or not backend.probe().available)
    said = f"chosen by auto before {', '.join(here)}" if here else "chosen by auto"
    return f"{said}: no device for {', '.join(absent)} (why: portbev backends)" if absent else said


def activate(
    backend: Backend | str = "auto",
    *,
    emulate: bool = False,
    precision: Precision = "highest",
    deterministic: Determinism = "preferred",
    kernels: Mapping[str, str] | None = None,
    among: Plugins | None = None,
) -> Backend:
    """Make this process compute on ``backend`` and rank the operators' kernels for it.

    Args:
        precision: ``highest`` (float32 means float32) or ``fast`` (TF32, HF32).
        deterministic: ``required``: deterministic algorithms alone, others are passed over; ``preferred``: others where
            there is no deterministic one but plain code; ``off``: the fastest.
        kernels: operator -> provider, to override the ranking.

    Returns:
        The backend; ``backend.device()`` is where models and batches go.

    Raises:
        PortbevError: no such backend here, or no such ``deterministic`` or ``kernels``.
    """
    import portbev.ops  # noqa: F401  (registers the operators)

    if deterministic not in get_args(Determinism):
        cure = f"One of {', '.join(get_args(Determinism))}"
        raise PortbevError(f"{deterministic!r} is no kind of determinism", where="deterministic", cure=cure)
    chosen = find_backend(backend, emulate=emulate, among=among) if isinstance(backend, str) else backend
    chosen.set_device(launch().local_rank % max(1, chosen.device_count()))
    chosen.activate(precision, deterministic)
    offered = (among or plugins()).kernels()
    KERNELS.use(chosen.device_type, KERNELS.rank(chosen.name, offered, deterministic=deterministic, choice=kernels))
    return chosen


def _emulate(name: str, found: Plugins) -> None:
    emulators = found.emulators()
    if name not in emulators:
        raise BackendError(
            f"there is no emulator for backend {name!r}", where="--emulate", cure=nearest(name, emulators)
        )
    emulators[name].install()


def activated(backend: Backend | str, compute: ComputeSection, *, emulate: bool = False) -> tuple[Backend, list[str]]:
    """The backend, activated as the section ``compute:`` of a configuration says, and notes on the host."""
    chosen = activate(
        backend,
        emulate=emulate,
        precision=compute.precision,
        deterministic=compute.deterministic,
        kernels=compute.kernels,
    )
    return chosen, chosen.prepare_host(compute)
