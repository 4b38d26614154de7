"""Runs a service on a socket until it is told to stop; what is inside by then is answered."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from portbev.errors import PortbevError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from portbev.serve.app import Service

LOOPBACK = ("127.0.0.1", "::1", "localhost")

_GRACE = 5.0  # seconds on top of --timeout


def listen(host: str, port: int) -> socket.socket:
    """A socket at ``host``, which refuses connections until the service runs; ``port`` 0 takes a free one.

    Raises:
        PortbevError: no such address here, or the port is taken or not allowed.
    """
    if not 0 <= port <= 65535:
        raise PortbevError(f"there is no port {port}", where="--port", cure="Give 0 to 65535; 0 takes a free one")
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(kind, socket.SOCK_STREAM)
    except OSError as error:
        raise PortbevError(f"cannot be used: {error.strerror or error}", where=f"--host {host}") from error
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # taken up again at once after an end
        opened.bind(address)
    except OSError as error:
        opened.close()
        cure = "Choose another with --port; 0 takes a free one"
        raise PortbevError(f"cannot be listened at: {error.strerror}", where=f"{host}:{port}", cure=cure) from error
    return opened


def url_of(opened: socket.socket) -> str:
    """Where clients find it."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run(service: Service, opened: socket.socket, *, ready: Callable[[], None], stopping: Callable[[], None]) -> bool:
    """Serve until SIGTERM or SIGINT, then answer what is inside and end; a second signal ends at once.

    Args:
        ready: called when requests are answered.
        stopping: called when the first signal has come.

    Returns:
        Whether everything inside was answered in time.
    """
    import uvicorn

    grace = service.limits.timeout + service.limits.read_timeout + _GRACE
    config = uvicorn.Config(
        service.app,
        log_config=None,
        log_level="critical",
        access_log=False,
        server_header=False,
        ws="none",
        lifespan="on",
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(grace),
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: server.run([opened]), name="http", daemon=True)

    def stop(*_: Any) -> None:
        if service.stopping:
            os._exit(130)  # asked twice: whatever is inside is lost
        service.stopping = server.should_exit = True

    with _signals(stop):
        thread.start()
        while thread.is_alive() and not server.started:
            time.sleep(0.01)
        if server.started:
            ready()
        told = False
        while thread.is_alive():
            thread.join(0.1)
            if service.stopping and not told:
                told = True
                stopping()
    if not service.stopping:
        raise PortbevError("the server ended by itself", cure="Run it with --debug")
    return service.inside == 0


@contextmanager
def _signals(handler: Callable[..., None]) -> Iterator[None]:
    """SIGTERM and SIGINT go to ``handler`` inside the block."""
    before = {one: signal.signal(one, handler) for one in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for one, old in before.items():
            signal.signal(one, old)
