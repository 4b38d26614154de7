"""A server under load: requests lost, latency, memory; and what clients see when it is killed and started again.

    python benchmarks/serving.py RUN [--requests 1000] [--clients 8]

starts ``portbev serve RUN`` in a process of its own on this machine. First all requests are sent by several clients at
once, each sample in turn; every answer must be the one that the first answer to this sample was. Then the clients go on
while the server is killed (SIGKILL) and started again on the same port: each must get errors in the meantime and
answers afterwards, and none may hang. Last it is told to stop (SIGTERM) under load.
"""

from __future__ import annotations

import argparse
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from portbev.errors import PortbevError
from portbev.serve.client import Client, multipart
from portbev.serve.trained import open_run

Body = tuple[bytes, str]


class Server:
    """``portbev serve`` in a process of its own."""

    def __init__(self, run: Path, port: int, options: Sequence[str]) -> None:
        words = [sys.executable, "-m", "portbev", "serve", str(run), "--port", str(port), *options]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        found = next(filter(None, (re.search(r"http://127\.0\.0\.1:(\d+)", line) for line in lines)), None)
        if found is None:
            raise SystemExit("the server did not start")
        self.url, self.port = found[0], int(found[1])

    def memory(self) -> float:
        """MiB that the process has in memory, by its own metrics."""
        with urllib.request.urlopen(f"{self.url}/metrics") as answer:
            text = answer.read().decode()
        return float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[1]) / 2**20  # type: ignore[index]

    def end(self, sign: signal.Signals) -> tuple[int, str]:
        """Exit status and last line."""
        self.process.send_signal(sign)
        said = self.process.communicate(timeout=120)[0].strip().splitlines()
        return self.process.returncode, said[-1] if said else ""


def steady(server: Server, bodies: Sequence[Body], requests: int, clients: int) -> dict[str, Any]:
    """All requests, by several clients at once."""
    first = [Client(server.url).predict(*body) for body in bodies]
    numbers, lock = iter(range(requests)), threading.Lock()
    seconds: list[float] = []
    memory: list[float] = []
    wrong: list[str] = []

    def client() -> None:
        asking = Client(server.url)
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            started = time.perf_counter()
            try:
                said = asking.predict(*bodies[number % len(bodies)])
            except PortbevError as error:
                wrong.append(str(error))
                continue
            seconds.append(time.perf_counter() - started)
            if said != first[number % len(bodies)]:
                wrong.append(f"request {number}: another answer than the first to this sample")
            if number % max(1, requests // 10) == 0:
                memory.append(server.memory())

    begun = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - begun
    memory.append(server.memory())
    milliseconds = np.array(seconds) * 1000
    return {
        "requests": requests,
        "clients": clients,
        "answered": len(seconds),
        "lost or wrong": len(wrong),
        "first of them": wrong[:1],
        "per second": round(len(seconds) / took, 1),
        "p50 ms": round(float(np.percentile(milliseconds, 50)), 1),
        "p99 ms": round(float(np.percentile(milliseconds, 99)), 1),
        "bytes of a request": len(bodies[0][0]),
        "memory MiB": [round(one, 1) for one in memory],
    }


def restarted(server: Server, run: Path, options: Sequence[str], body: Body, clients: int) -> dict[str, Any]:
    """Clients that go on while the server is killed and started again, and while it is told to stop."""
    over, seen = threading.Event(), [{"answered": 0, "failed": 0, "answered after": 0} for _ in range(clients)]
    back = threading.Event()

    def client(mine: dict[str, int]) -> None:
        asking = Client(server.url, timeout=60)
        while not over.is_set():
            try:
                asking.predict(*body)
                mine["answered after" if back.is_set() else "answered"] += 1
            except PortbevError:
                mine["failed"] += 1
                time.sleep(0.02)

    threads = [threading.Thread(target=client, args=(mine,), daemon=True) for mine in seen]
    for thread in threads:
        thread.start()
    until(lambda: all(mine["answered"] for mine in seen))
    server.end(signal.SIGKILL)
    until(lambda: all(mine["failed"] for mine in seen))
    again = Server(run, server.port, options)
    back.set()
    until(lambda: all(mine["answered after"] for mine in seen))
    status, line = again.end(signal.SIGTERM)
    over.set()
    for thread in threads:
        thread.join(120)
    return {
        "clients that failed and went on": sum(mine["failed"] > 0 and mine["answered after"] > 0 for mine in seen),
        "clients that hang": sum(thread.is_alive() for thread in threads),
        "stopped under load": {"exit status": status, "last line": line},
    }


def until(true: Any) -> None:
    """Wait for it, two minutes at most."""
    end = time.monotonic() + 120
    while not true():
        if time.monotonic() > end:
            raise SystemExit("a client hangs")
        time.sleep(0.01)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--backend", default="cpu")
    arguments = parser.parse_args()
    predictor = open_run(arguments.run, backend=arguments.backend)
    source = predictor.samples()
    bodies = [multipart(source.request(index), predictor.fields) for index, _ in source.order(4)]
    options = ["--backend", arguments.backend, "--batch", str(arguments.batch)]
    server = Server(arguments.run, 0, options)
    try:
        result = {"model": predictor.facts["name"], "batch": arguments.batch}
        result |= steady(server, bodies, arguments.requests, arguments.clients)
        result["killed and started again"] = restarted(server, arguments.run, options, bodies[0], arguments.clients)
    finally:
        server.process.kill()
    print(json.dumps(result, indent=1))
    return int(result["answered"] != arguments.requests or result["lost or wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
