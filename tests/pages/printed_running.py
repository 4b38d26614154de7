"""Printed commands, run one after another in as few processes as they can share: the start of each costs seconds."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from itertools import groupby
from pathlib import Path

_RUN = """
import contextlib, io, json, sys
from portbev.cli import main
said = {}
for line, words in json.loads(sys.argv[1]):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        status = main(words)
    said[line] = out.getvalue()
    if status:
        sys.exit(f"{line}: exit status {status}\\n{out.getvalue()}")
print("SAID " + json.dumps(said))
"""


def run_printed(text: str, folder: Path, *, site: Path | None = None) -> dict[str, str]:
    """Run a block's ``portbev`` commands in their order in ``folder``.

    Args:
        text: the block. Other commands than ``portbev`` are the caller's to run.
        site: a folder with installed plugins.

    Returns:
        What each line printed on standard output.
    """
    lines = [line for line in text.replace("\\\n", " ").splitlines() if line.startswith("portbev ")]
    paths = [str(site)] if site else []
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*paths, *filter(None, [os.environ.get("PYTHONPATH")])]),
        "PORTBEV_CACHE": str(folder.parent / "cache"),
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "200",
    }
    said: dict[str, str] = {}
    # A process that has the emulated device keeps it: what does without runs in another one.
    for _, group in groupby(lines, key=lambda line: "--emulate" in line):
        work = [(line, shlex.split(line)[1:]) for line in group]
        done = subprocess.run(
            [sys.executable, "-c", _RUN, json.dumps(work)],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        said |= json.loads(done.stdout.rpartition("SAID ")[2])
    return said
