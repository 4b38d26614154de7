"""``portbev serve``: a model behind HTTP, and a comparison of a running server with the model."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portbev.cli.options import DATA_ROOT

if TYPE_CHECKING:
    from portbev.export.interface import Predictor
    from portbev.serve.limits import Limits

_MODULES = {
    "starlette": "starlette",
    "uvicorn": "uvicorn",
    "python_multipart": "python-multipart",
    "prometheus_client": "prometheus-client",
}


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    example = "Example: portbev serve runs/mine --port 8000"
    app.command(name, help=help, epilog=example)(serve)


def serve(
    context: typer.Context,
    source: Path = typer.Argument(..., metavar="RUN|EXPORT", help="The model that is served."),  # noqa: B008
    host: str = typer.Option("127.0.0.1", "--host", help="Where to listen; 0.0.0.0: for other machines too."),
    port: int = typer.Option(8000, "--port", help="0 takes a free one."),
    backend: str = typer.Option("auto", "--backend", help="Device that computes; of a run."),
    emulate: bool = typer.Option(False, "--emulate", help="With --backend npu: on the emulated device."),
    checkpoint: str = typer.Option("latest", "--checkpoint", help="Of a run: latest, best, or a step."),
    data_root: str | None = typer.Option(None, "--data-root", help=DATA_ROOT),
    batch: int | None = typer.Option(
        None, "--batch", help="Requests that are computed together, at most. Default: an export's own; 1."
    ),
    batch_wait: float = typer.Option(0.005, "--batch-wait", help="Seconds that the first of a batch waits for others."),
    queue: int = typer.Option(32, "--queue", help="Requests inside at once; more are refused (503)."),
    max_body: float = typer.Option(32, "--max-body", help="MiB of a request; larger ones are refused (413)."),
    timeout: float = typer.Option(30, "--timeout", help="Seconds to an answer (504)."),
    read_timeout: float = typer.Option(20, "--read-timeout", help="Seconds that a body may take to arrive (408)."),
    sessions: int = typer.Option(64, "--sessions", help="Streams whose history is kept, of a model with memory."),
    session_expiry: float = typer.Option(60, "--session-expiry", help="Seconds until a stream's history is forgotten."),
    check: str | None = typer.Option(
        None, "--check", metavar="URL", help="Serve nothing: compare the server at URL with the model."
    ),
    samples: int = typer.Option(10, "--samples", help="With --check: samples to compare."),
    tolerance: float = typer.Option(
        1e-4, "--tolerance", help="With --check: by how much a number of a box may differ. [m, rad, m/s]"
    ),
) -> None:
    """Answer requests with pictures and calibration by boxes, over HTTP, until SIGTERM or Ctrl-C."""
    _refuse_idle(context, source, checking=check is not None)
    _refuse_missing(checking=check is not None)

    def opening() -> Predictor:
        return _open(source, checkpoint, backend, emulate, data_root)

    if check is not None:
        _check(check, opening, samples, tolerance, timeout)
        return
    from portbev.serve.limits import MIB, Limits

    limits = Limits(
        max_body=int(max_body * MIB),
        queue=queue,
        timeout=timeout,
        read_timeout=read_timeout,
        batch=1 if batch is None else batch,
        batch_wait=batch_wait,
        sessions=sessions,
        session_expiry=session_expiry,
    )
    _serve(opening, host, port, limits, own_batch=batch is None)


_CHECKING = ("samples", "tolerance")
_OF_RUNS = ("backend", "emulate", "checkpoint")
_SERVING = ("host", "port", "batch", "batch_wait", "queue", "max_body", "read_timeout", "sessions", "session_expiry")


def _refuse_idle(context: typer.Context, source: Path, *, checking: bool) -> None:
    """Raise for an option that would do nothing."""
    from portbev.errors import PortbevError
    from portbev.export.load import is_export

    idle = dict.fromkeys(_SERVING, "with --check") if checking else dict.fromkeys(_CHECKING, "without --check")
    idle |= dict.fromkeys(_OF_RUNS, "for an export, which computes on the CPU") if is_export(source) else {}
    for name, why in idle.items():
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE":
            raise PortbevError(f"does nothing {why}", where="--" + name.replace("_", "-"), cure="Leave it out")


def _refuse_missing(*, checking: bool) -> None:
    """Raise where the extra is not installed, before a model is loaded; a check needs none of it."""
    from portbev.errors import PortbevError

    missing = [package for module, package in _MODULES.items() if find_spec(module) is None]
    if missing and not checking:
        raise PortbevError(f"serving needs {', '.join(missing)}", cure="pip install 'portbev[serve]'")


def _open(source: Path, checkpoint: str, backend: str, emulate: bool, data_root: str | None) -> Predictor:
    """The model of a run directory, or an export."""
    from portbev.export.load import is_export

    if is_export(source):
        from portbev.export.predictor import open_predictor

        return open_predictor(source, data_root=data_root)
    from portbev.serve.trained import open_run

    return open_run(source, checkpoint=checkpoint, backend=backend, emulate=emulate, data_root=data_root)


def _serve(opening: Callable[[], Predictor], host: str, port: int, limits: Limits, *, own_batch: bool) -> None:
    from dataclasses import replace

    from portbev.progress import Reporter
    from portbev.serve.app import Service
    from portbev.serve.running import LOOPBACK, listen, run, url_of

    say = Reporter().say
    with listen(host, port) as opened:
        predictor = opening()
        for note in predictor.facts.get("notes", ()):
            say(f"note: {note}")
        if own_batch:
            limits = replace(limits, batch=predictor.batch)
        elif predictor.temporal and limits.batch > 1:
            say("note: a model with memory computes one frame at a time: --batch does nothing")
        service = Service(predictor, limits, debug=_debugging())
        url = url_of(opened)

        def ready() -> None:
            if host not in LOOPBACK:
                say("note: whoever reaches this address may ask: put TLS and a login before it")
            say(f"serving {_said(predictor)} at {url}; Ctrl-C stops")

        def stopping() -> None:
            say(f"stopping: {service.inside} requests are inside; Ctrl-C again gives them up")

        whole = run(service, opened, ready=ready, stopping=stopping)
    lost = "" if whole else f", {service.inside} given up"
    say(f"stopped: {service.answered} answered, {service.refused} refused{lost}")
    if not whole:
        os._exit(1)  # the model's thread is still busy, and would be waited for


def _debugging() -> bool:
    import sys

    return "--debug" in sys.argv


def _said(predictor: Predictor) -> str:
    facts = predictor.facts
    return f"{facts.get('name', 'a model')} ({facts.get('format', 'run')})"


def _check(url: str, opening: Callable[[], Predictor], samples: int, tolerance: float, timeout: float) -> None:
    from portbev.errors import PortbevError
    from portbev.serve.check import check

    if samples < 1:
        raise PortbevError(f"is {samples}", where="--samples", cure="Compare one or more")
    predictor = opening()
    found = check(url, predictor, predictor.samples(), samples=samples, tolerance=tolerance, timeout=timeout)
    if found.difference:
        print(f"differs: {found.difference} ({found.samples} samples before it agreed)")
        raise typer.Exit(1)
    how = f"within {tolerance:g}, the greatest difference is {found.largest:.3g}" if found.largest else "bit by bit"
    print(f"agrees: {found.samples} samples, {found.boxes} boxes, {how}")
