"""``portbev backends``: devices, why some are missing, and who serves each operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from portbev.precision import Determinism

SCHEMA = "portbev.backends/1"


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help)(backends)


def backends(
    backend: str = typer.Option("", "--backend", help="Show this backend only; exit status 2 if its device is absent."),
    emulate: bool = typer.Option(False, "--emulate", help="Install the emulated device of --backend first."),
    deterministic: str = typer.Option(
        "", "--deterministic", help="Rank kernels for this compute.deterministic: required, preferred (default), off."
    ),
    kernel: list[str] = typer.Option([], "--kernel", help="OPERATOR=PROVIDER, as for training; repeatable."),  # noqa: B008
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Print the state of every backend, or of one."""
    from portbev.errors import BackendError, PortbevError
    from portbev.runtime import find_backend

    choice, setting = _choices(kernel), _setting(deterministic)
    if emulate and not backend:
        raise BackendError("--emulate needs a named backend", where="--backend", cure="Add --backend npu")
    absent: PortbevError | None = None
    if backend:
        try:
            backend = find_backend(backend, emulate=emulate).name
        except BackendError as error:
            if not _exists(backend) or emulate:
                raise
            absent = error
    report = survey(backend or None, deterministic=setting, choice=choice)
    if as_json:
        import json

        print(json.dumps(report, indent=1))
    else:
        from portbev import terminal

        _show(report, terminal.open_console())
    if absent is not None:
        raise absent


def survey(
    only: str | None = None, *, deterministic: Determinism | None = None, choice: dict[str, str] | None = None
) -> Any:
    """State of the backends as JSON values.

    Args:
        deterministic: the setting that kernels are ranked for; None: the default of ``compute.deterministic``.

    Returns:
        ``{"schema", "auto", "deterministic", "backends": [{"name", "label", "device_type", "collective", "priority",
        "emulated", "available", "emulator", "stages": [{"name", "ok", "detail", "cure"}], "versions": {"versions",
        "known", "said", "cure"} or null (see :mod:`portbev.combinations`), "warnings", "operators":
        {operator: {"candidates": [...], "excluded": {provider: reason}}}}], "conflicts": [distributions that
        overwrite each other], "failures": [...]}``; ``operators`` is empty where
        the device is absent.
    """
    import portbev.ops  # noqa: F401  (registers the operators)
    from portbev.combinations import environment
    from portbev.config import ComputeSection
    from portbev.distributions import shadowed
    from portbev.plugins import plugins
    from portbev.runtime import backends_here

    found, conflicts = plugins(), shadowed()
    setting = deterministic or ComputeSection().deterministic
    every = []
    for backend in sorted(backends_here(found).values(), key=lambda b: -b.priority):
        state = backend.probe()
        found_here = environment(backend.combinations, backend.components())
        shown = only in (None, backend.name) and state.available
        every.append(
            {
                "name": backend.name,
                "label": backend.label,
                "device_type": backend.device_type,
                "collective": backend.collective,
                "priority": backend.priority,
                "emulated": backend.emulated,
                "emulator": backend.name in found.emulators(),
                "available": state.available,
                "stages": [
                    {"name": s.name, "ok": s.ok, "detail": s.detail, **({} if s.ok else {"cure": s.cure})}
                    for s in state.stages
                ],
                "versions": None if found_here is None else found_here.as_dict(),
                "warnings": [w for w in backend.environment().get("warnings", []) if w not in conflicts]
                if shown
                else [],
                "operators": _operators(backend.name, setting, choice) if shown else {},
            }
        )
    return {
        "schema": SCHEMA,
        "auto": max((p["priority"], p["name"]) for p in every if p["available"] and not p["emulated"])[1],
        "deterministic": setting,
        "backends": [page for page in every if only in (None, page["name"])],
        "conflicts": conflicts,
        "failures": [{"plugin": f.plugin, "hook": f.hook, "error": f.error} for f in found.failures],
    }


def _operators(backend: str, deterministic: Determinism, choice: dict[str, str] | None) -> dict[str, Any]:
    from portbev.kernels import KERNELS
    from portbev.plugins import plugins

    ranked = KERNELS.rank(backend, plugins().kernels(), deterministic=deterministic, choice=choice)
    return {
        operator: {
            "candidates": [
                {
                    "provider": kernel.provider,
                    "forward": True,
                    "backward": kernel.backward is not None,
                    "deterministic": kernel.deterministic,
                    "priority": kernel.priority,
                }
                for kernel in candidates.kernels
            ],
            "excluded": candidates.excluded,
        }
        for operator, candidates in sorted(ranked.items())
    }


def _show(report: dict[str, Any], console: Console) -> None:
    for page in report["backends"]:
        state = "[green]available[/]" if page["available"] else "[red]not available[/]"
        auto = ", taken by --backend auto" if page["name"] == report["auto"] and not page["emulated"] else ""
        _say(console, "[bold]{}[/]  " + state + auto, page["label"])
        for stage in page["stages"]:
            mark = "[green]ok  [/]" if stage["ok"] else "[red]no  [/]"
            _say(console, f"  {mark}{{}}", stage["name"] + (f": {stage['detail']}" if stage["detail"] else ""), hang=6)
            if not stage["ok"]:
                _say(console, "      -> {}", stage["cure"], hang=9)
        _show_versions(page["versions"], console)
        if not page["available"] and page["emulator"]:
            _say(console, "      -> Without the device: --backend {} --emulate", page["name"], hang=9)
        for warning in page["warnings"]:
            _say(console, "  [yellow]note[/] {}", warning, hang=6)
        _show_operators(page["operators"], report["deterministic"], console)
        console.print()
    for conflict in report["conflicts"]:
        _say(console, "[yellow]conflict[/] {}", conflict)
    for failure in report["failures"]:
        hook = f", hook {failure['hook']}" if failure["hook"] else ""
        _say(console, "[red]plugin {} failed[/]: {}", f"{failure['plugin']}{hook}", failure["error"])


def _say(console: Console, markup: str, *said: str, hang: int | None = None) -> None:
    """A line in colours; ``said`` stands where ``markup`` has braces, whatever brackets it contains."""
    from rich.markup import escape
    from rich.text import Text

    from portbev import terminal

    terminal.say(console, Text.from_markup(markup.format(*map(escape, said))), hang=hang)


def _show_versions(versions: dict[str, Any] | None, console: Console) -> None:
    if versions is None:
        return
    mark = "[green]ok  [/]" if versions["known"] else "[yellow]note[/] "
    _say(console, f"  {mark}versions: {{}}", versions["said"], hang=6)
    if not versions["known"]:
        _say(console, "      -> {}", versions["cure"], hang=9)


def _show_operators(operators: dict[str, Any], setting: str, console: Console) -> None:
    if not operators:
        return
    _say(console, f"  operators (best provider first; compute.deterministic: {setting}):")
    width = max(map(len, operators))
    for operator, entry in operators.items():
        names = [_named(candidate) for candidate in entry["candidates"]]
        _say(console, f"    {operator:<{width}}  {{}}", ", ".join(names) or "none", hang=width + 6)
        for provider, reason in entry["excluded"].items():
            _say(console, f"    {'':<{width}}  - {{}}: {{}}", provider, reason, hang=width + 8)


def _named(candidate: dict[str, Any]) -> str:
    """A provider with what is to be known of it."""
    said = [*([] if candidate["backward"] else ["forward"]), *([] if candidate["deterministic"] else ["bits vary"])]
    return candidate["provider"] + (f" ({', '.join(said)})" if said else "")


def _setting(text: str) -> Determinism | None:
    from portbev.errors import PortbevError
    from portbev.precision import Determinism

    if text and text not in get_args(Determinism):
        cure = f"One of {', '.join(get_args(Determinism))}"
        raise PortbevError(f"{text!r} is no value of compute.deterministic", where="--deterministic", cure=cure)
    return cast("Determinism | None", text or None)


def _choices(texts: list[str]) -> dict[str, str]:
    from portbev.errors import PortbevError

    for text in texts:
        if "=" not in text:
            cure = "For example: --kernel voxel_pool=reference"
            raise PortbevError(f"{text!r} is not OPERATOR=PROVIDER", where="--kernel", cure=cure)
    return dict(text.split("=", 1) for text in texts)


def _exists(name: str) -> bool:
    from portbev.plugins import plugins

    return name in plugins().backends()
