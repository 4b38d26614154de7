"""``portbev serve``: a real server of a trained run, checked, killed and restarted under load, and told to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from portbev.cli import main

pytest.importorskip("uvicorn", reason="pip install 'portbev[serve]'")

from portbev.errors import PortbevError
from portbev.serve.client import Client, multipart
from portbev.serve.trained import open_run


class Process:
    """``portbev serve`` on a port of this machine."""

    def __init__(self, run: Path, *options: object) -> None:
        words = [sys.executable, "-m", "portbev", "serve", str(run), "--backend", "cpu", *map(str, options)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.process = subprocess.Popen(
            words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert self.process.stdout is not None
        lines = iter(self.process.stdout.readline, "")
        self.said = next((line for line in lines if line.startswith("serving ")), "")
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.said)
        assert found, self.process.communicate()[0]
        self.url, self.port = found[0], int(found[1])

    def end(self, sign: signal.Signals) -> tuple[int, list[str]]:
        """Exit status, and the lines said since the start."""
        self.process.send_signal(sign)
        rest = self.process.communicate(timeout=250)[0]
        return self.process.returncode, rest.splitlines()


@contextmanager
def serving(run: Path, *options: object) -> Iterator[Process]:
    server = Process(run, *options)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


class Load:
    """Clients that ask again and again, whatever they get."""

    def __init__(self, url: str, run: Path, data: Path, clients: int = 2) -> None:
        predictor = open_run(run, backend="cpu", data_root=str(data))
        self._body = multipart(predictor.samples().request(0), predictor.fields)
        self._client, self._over = Client(url, timeout=250), threading.Event()
        self.seen: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self) -> None:
        while not self._over.is_set():
            try:
                self._client.predict(*self._body)
                self.seen["answered"] += 1
            except PortbevError:
                self.seen["failed"] += 1
                time.sleep(0.05)

    def until(self, what: str, more: int = 3) -> None:
        """Wait until clients have seen some more of it."""
        goal, end = self.seen[what] + more, time.monotonic() + 250
        while self.seen[what] < goal:
            assert time.monotonic() < end, self.seen
            time.sleep(0.02)

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(250)
            assert not thread.is_alive(), "a client hangs"


def test_a_server_agrees_with_its_run_survives_a_kill_and_stops_when_told(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--data-root", data]
    with serving(trained, "--port", 0, *options) as first:
        assert first.said.startswith("serving bevdepth_tiny_test (run) at http://127.0.0.1:")
        check = ["serve", str(trained), "--check", first.url, "--samples", "2", "--backend", "cpu"]
        assert main([*check, *map(str, options)]) == 0
        assert re.match(r"agrees: 2 samples, \d+ boxes, bit by bit\n", capsys.readouterr().out)
        load = Load(first.url, trained, data)
        load.until("answered")
        first.end(signal.SIGKILL)
        load.until("failed")
        with serving(trained, "--port", first.port, *options) as second:
            load.until("answered")
            status, lines = second.end(signal.SIGTERM)
            load.stop()
    assert status == 0
    assert lines[0].startswith("stopping: ") and re.fullmatch(r"stopped: \d+ answered, \d+ refused", lines[-1])


def assert_said(err: str, said: str) -> None:
    assert err.startswith("portbev: ") and err.count("\n") == 1 and re.search(said, err), err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--samples", "3"], "--samples: does nothing without --check"),
        (["--check", "http://127.0.0.1:1", "--queue", "3"], "--queue: does nothing with --check"),
        (["--check", "127.0.0.1:8000"], "127.0.0.1:8000: is no address of a server"),
        (["--check", "http://127.0.0.1:1"], "no server answers: .*portbev serve RUN"),
        (["--check", "http://127.0.0.1:1", "--samples", "0"], "--samples: is 0"),
        (["--queue", "0"], "--queue: is 0"),
        (["--timeout", "nan"], "--timeout: is nan"),
        (["--max-body", "-1"], "--max-body: is -1"),
        (["--port", "70000"], "there is no port 70000"),
        (["--host", "203.0.113.1"], "203.0.113.1:8000: cannot be listened at"),
        (["--checkpoint", "7", "--port", "0"], "no checkpoint '7'"),
    ],
)
def test_a_wrong_option_gets_one_line(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    status = main(["serve", str(trained), "--backend", "cpu", "--data-root", str(data), *arguments])
    output = capsys.readouterr()
    assert status == 2 and output.out == ""
    assert_said(output.err, said)


def test_what_is_no_run_gets_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (tmp_path, tmp_path / "none"):
        assert main(["serve", str(path), "--port", "0"]) == 2
        assert_said(capsys.readouterr().err, re.escape(str(path)))


def test_a_file_is_taken_for_an_export(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = tmp_path / "mine.pt2"
    export.write_bytes(b"PK")
    assert main(["serve", str(export), "--port", "0"]) == 2
    assert_said(capsys.readouterr().err, r"mine\.pt2\.json: the manifest that belongs beside an export is missing")
    assert main(["serve", str(export), "--backend", "cpu"]) == 2
    assert_said(capsys.readouterr().err, "--backend: does nothing for an export")
