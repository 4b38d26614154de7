"""One writer at a time, whatever becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from portbev.errors import PortbevError
from portbev.runs import lock
from portbev.runs.lock import RunLock

HOLD = "import sys, time; from pathlib import Path; from portbev.runs.lock import RunLock\n" \
       "RunLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"  # fmt: skip


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that has the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_it_says_who_has_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with RunLock(tmp_path) as held:
        assert json.loads(held.path.read_text())["pid"] == os.getpid()
        assert held.note == ""
        with pytest.raises(PortbevError, match=f"process {os.getpid()} on .* is writing into this directory"):
            RunLock(tmp_path).acquire()
        assert held.path.exists(), "the refused one must not remove it"
    assert list(tmp_path.iterdir()) == []
    held.release()  # once more is no harm
    with RunLock(tmp_path):
        pass


def test_another_process_is_refused_in_one_line_and_its_lock_ends_with_it(tmp_path: Path) -> None:
    process = holder(tmp_path)
    try:
        with pytest.raises(PortbevError) as caught:
            RunLock(tmp_path).acquire()
        assert f"process {process.pid} on" in str(caught.value) and "\n" not in str(caught.value)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (tmp_path / "run.lock").exists(), "SIGKILL leaves no time to clean up"
    with RunLock(tmp_path) as held:
        assert f"process {process.pid} on" in held.note and "taken over" in held.note
    assert list(tmp_path.iterdir()) == []


def test_a_child_that_outlives_a_killed_owner_does_not_hold_it(tmp_path: Path) -> None:
    fork = HOLD.replace("print(", "import os; child = os.fork()\nif child == 0: time.sleep(60)\nprint(child); print(")
    process = subprocess.Popen([sys.executable, "-c", fork, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = int(process.stdout.readline())
    assert process.stdout.readline() == "held\n"
    process.kill()
    process.wait()
    try:
        os.kill(child, 0)  # it is there
        with RunLock(tmp_path) as held:
            assert "taken over" in held.note
    finally:
        os.kill(child, signal.SIGKILL)


def foreign(folder: Path, age: float) -> Path:
    """The lock file of a process on another machine, touched ``age`` seconds ago."""
    path = folder / "run.lock"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    os.utime(path, (time.time() - age, time.time() - age))
    return path


def test_what_another_machine_left_is_taken_over_when_nobody_touches_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign(tmp_path, age=60)
    started = time.monotonic()
    with RunLock(tmp_path) as held:
        assert held.note == "process 1 on elsewhere left the directory without ending its work; taken over"
    assert time.monotonic() - started < 5
    monkeypatch.setattr(lock, "_DEAD_AFTER", 1.0)
    foreign(tmp_path, age=0)  # it may live: wait for a sign
    started = time.monotonic()
    with RunLock(tmp_path) as held:
        assert "taken over" in held.note
    assert 0.8 < time.monotonic() - started < 5
    assert list(tmp_path.iterdir()) == []


def test_what_another_machine_touches_is_refused(tmp_path: Path) -> None:
    path = foreign(tmp_path, age=1)
    toucher = threading.Timer(0.3, os.utime, [path])
    toucher.start()
    with pytest.raises(PortbevError, match="process 1 on elsewhere is writing into this directory"):
        RunLock(tmp_path).acquire()
    toucher.join()
    assert json.loads(path.read_text())["pid"] == 1


def test_what_another_machine_removes_in_the_meantime_is_free(tmp_path: Path) -> None:
    path = foreign(tmp_path, age=1)
    remover = threading.Timer(0.3, path.unlink)
    remover.start()
    with RunLock(tmp_path) as held:
        assert held.note == "" and json.loads(path.read_text())["pid"] == os.getpid()


def test_an_owner_touches_its_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock, "_TOUCHED_EVERY", 0.05)
    with RunLock(tmp_path) as held:
        os.utime(held.path, (1, 1))
        deadline = time.monotonic() + 5
        while held.path.stat().st_mtime == 1 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert held.path.stat().st_mtime > 1


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"pid": "x", "host": 1}'])
def test_a_lock_file_that_names_nobody_is_taken(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.lock").write_text(content)
    with RunLock(tmp_path) as held:
        assert held.note == ""


def test_of_many_that_start_at_once_one_gets_it(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from portbev.runs.lock import RunLock\n" \
           "while time.time() < float(sys.argv[2]): pass\n" \
           "RunLock(Path(sys.argv[1])).acquire(); time.sleep(3)"  # fmt: skip
    words = [sys.executable, "-c", code, str(tmp_path), str(time.time() + 3)]
    racing = [subprocess.Popen(words, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert sorted(process.wait() for process in racing) == [0, 1, 1, 1]
