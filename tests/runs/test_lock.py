"""One writer at a time, whatever becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from portbev.errors import PortbevError
from portbev.runs.lock import RunLock

HOLD = "import sys, time; from pathlib import Path; from portbev.runs.lock import RunLock\n" \
       "RunLock(Path(sys.argv[1])).acquire(); print('held', flush=True); time.sleep(60)"  # fmt: skip


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that has the lock."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def test_it_says_who_has_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with RunLock(tmp_path) as lock:
        assert json.loads(lock.path.read_text())["pid"] == os.getpid()
        assert lock.note == ""
        with pytest.raises(PortbevError, match=f"process {os.getpid()} on .* is training into this directory"):
            RunLock(tmp_path).acquire()
        assert lock.path.exists(), "the refused one must not remove it"
    assert list(tmp_path.iterdir()) == []
    lock.release()  # once more is no harm
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
    with RunLock(tmp_path) as lock:
        assert f"process {process.pid} on" in lock.note and "taken over" in lock.note
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
        with RunLock(tmp_path) as lock:
            assert "taken over" in lock.note
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_copied_directory_is_free(tmp_path: Path) -> None:
    (tmp_path / "run.lock").write_text(json.dumps({"host": "elsewhere", "pid": 1}))
    with RunLock(tmp_path) as lock:
        assert lock.note.startswith("process 1 on elsewhere left the run")


@pytest.mark.parametrize("content", ["", "no JSON", "[]", '{"pid": "x", "host": 1}'])
def test_a_lock_file_that_names_nobody_is_taken(tmp_path: Path, content: str) -> None:
    (tmp_path / "run.lock").write_text(content)
    with RunLock(tmp_path) as lock:
        assert lock.note == ""


def test_of_many_that_start_at_once_one_gets_it(tmp_path: Path) -> None:
    code = "import sys, time; from pathlib import Path; from portbev.runs.lock import RunLock\n" \
           "while time.time() < float(sys.argv[2]): pass\n" \
           "RunLock(Path(sys.argv[1])).acquire(); time.sleep(3)"  # fmt: skip
    words = [sys.executable, "-c", code, str(tmp_path), str(time.time() + 3)]
    racing = [subprocess.Popen(words, stderr=subprocess.DEVNULL) for _ in range(4)]
    assert sorted(process.wait() for process in racing) == [0, 1, 1, 1]
