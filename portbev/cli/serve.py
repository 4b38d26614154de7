"""``portbev serve``: a model behind HTTP, and a comparison of a running server with the model."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from portbev.export.interface import Predictor

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
    checkpoint: str = typer.Option("latest", "--checkpoint", help="Of a run: latest, best, or a step."),
    batch: int = typer.Option(1, "--batch", help="Requests that are computed together, at most."),
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
    data_root: str | None = typer.Option(
        None, "--data-root", help="With --check: folder of the data set; default: the run's own."
    ),
) -> None:
    """Answer requests with pictures and calibration by boxes, over HTTP, until SIGTERM or Ctrl-C."""
    _refuse_idle(context, checking=check is not None)
    _refuse_missing(checking=check is not None)
    if check is not None:
        _check(check, source, checkpoint, samples, tolerance, data_root, timeout)
        return
    from portbev.serve.limits import MIB, Limits

    limits = Limits(
        max_body=int(max_body * MIB),
        queue=queue,
        timeout=timeout,
        read_timeout=read_timeout,
        batch=batch,
        batch_wait=batch_wait,
        sessions=sessions,
        session_expiry=session_expiry,
    )
    _serve(source, checkpoint, host, port, limits)


_CHECKING = ("samples", "tolerance", "data_root")
_SERVING = (
    *("host", "port", "batch", "batch_wait", "queue", "max_body", "read_timeout", "sessions", "session_expiry"),
)


def _refuse_idle(context: typer.Context, *, checking: bool) -> None:
    """Raise for an option that would do nothing."""
    from portbev.errors import PortbevError

    for name in _SERVING if checking else _CHECKING:
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE":
            option = "--" + name.replace("_", "-")
            said = "does nothing with --check" if checking else "does nothing without --check"
            raise PortbevError(said, where=option, cure="Leave it out")


def _refuse_missing(*, checking: bool) -> None:
    """Raise where the extra is not installed, before a model is loaded; a check needs none of it."""
    from portbev.errors import PortbevError

    missing = [package for module, package in _MODULES.items() if find_spec(module) is None]
    if missing and not checking:
        raise PortbevError(f"serving needs {', '.join(missing)}", cure="pip install 'portbev[serve]'")


def _open(source: Path, checkpoint: str) -> Predictor:
    from portbev.export.predictor import open_predictor

    return open_predictor(source, checkpoint=checkpoint)


def _serve(source: Path, checkpoint: str, host: str, port: int, limits: Any) -> None:
    from portbev.serve.app import Service
    from portbev.serve.running import LOOPBACK, listen, run, url_of

    debug = "--debug" in sys.argv
    with listen(host, port) as opened:
        predictor = _open(source, checkpoint)
        service = Service(predictor, limits, debug=debug)
        url = url_of(opened)

        def ready() -> None:
            print(f"serving {_said(predictor)} at {url}; Ctrl-C stops", flush=True)
            if host not in LOOPBACK:
                print(
                    "note: anyone who reaches this address may ask: put a proxy with TLS and a login before it",
                    flush=True,
                )

        def stopping() -> None:
            print(f"stopping: {service.inside} requests are inside; Ctrl-C again gives them up", flush=True)

        whole = run(service, opened, ready=ready, stopping=stopping)
    lost = "" if whole else f", {service.inside} given up"
    print(f"stopped: {service.answered} answered, {service.refused} refused{lost}", flush=True)
    if not whole:
        os._exit(1)  # the model's thread is still busy, nobody would wait for it


def _said(predictor: Predictor) -> str:
    facts = predictor.facts
    return f"{facts.get('name', 'a model')} ({facts.get('format', 'run')})"


def _check(
    url: str, source: Path, checkpoint: str, samples: int, tolerance: float, data_root: str | None, timeout: float
) -> None:
    from portbev.serve.check import check, unusable_count

    unusable_count(samples)
    predictor = _open(source, checkpoint)
    found = check(url, predictor, predictor.samples(data_root), samples=samples, tolerance=tolerance, timeout=timeout)
    if found.difference:
        print(f"differs: {found.difference} ({found.samples} samples before it agreed)")
        raise typer.Exit(1)
    how = (
        "bit by bit" if found.largest == 0 else f"within {tolerance:g}, the greatest difference is {found.largest:.3g}"
    )
    print(f"agrees: {found.samples} samples, {found.boxes} boxes, {how}")
