"""Training runs as processes of their own: what one leaves behind in a process cannot reach the next."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from portbev.evaluate.benchmark import find_benchmark, headline
from portbev.runs import load_run
from portbev.runs.layout import RUN

Result = Literal["finished", "finished already", "failed", "interrupted"]


@dataclass(frozen=True)
class Trained:
    """How a run ended, in a line."""

    result: Result
    says: str


def train_apart(out: Path, arguments: Sequence[str], *, processes: int = 1) -> Trained:
    """``portbev train ARGUMENTS --out OUT``, taken up where it was ended; its output goes to ``OUT.log``.

    A run that is finished is left alone.

    Args:
        processes: of the run, each with a device of its own.
    """
    if (out / RUN).is_file() and load_run(out).status == "finished":
        return Trained("finished already", _figures(out))
    out.parent.mkdir(parents=True, exist_ok=True)
    log = out.with_name(f"{out.name}.log")
    several = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"] if processes > 1 else []
    command = [sys.executable, "-m", *several, "portbev", "train", *arguments, "--resume", "--out", str(out)]
    started = time.monotonic()
    with open(log, "a", encoding="utf-8") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            status = child.wait()
        except KeyboardInterrupt:  # from a terminal the child has it too; a second signal does no harm
            child.terminate()
            child.wait()  # it writes a checkpoint
            return Trained("interrupted", "interrupted")
    if status == 0:
        return Trained("finished", f"{_figures(out)}, {time.monotonic() - started:.0f} s")
    if status in (130, -2, -15, 143):
        return Trained("interrupted", "interrupted")
    return Trained("failed", f"{_last_line(log)} (all of it in {log})")


def _figures(out: Path) -> str:
    run = load_run(out)
    return "not evaluated" if run.metrics is None else headline(find_benchmark(run.benchmark), run.metrics.content)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
