"""What docs/clusters.md says of restarts and of other numbers of processes, measured; not a test.

    python tests/train/elastic_figures.py OUT CONFIG DATA_ROOT [--steps 8] [--cut 4] [--kill]

A run of four processes; the same one cut after some steps and continued by two processes, by one and by three. With
``--kill`` also one of which process 2 is killed with SIGKILL in the middle, under ``--max-restarts 3``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from portbev.runs import Run, load_run

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--rdzv-backend", "c10d", "--rdzv-endpoint", "localhost:0"]


def train(size: int, *words: str, restarts: int = 0) -> subprocess.Popen[bytes]:
    launch = [*TORCHRUN, "--nproc-per-node", str(size), "--max-restarts", str(restarts)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([*launch, "-m", "portbev", "train", *words], env=environment, stdout=subprocess.DEVNULL)


def ended(process: subprocess.Popen[bytes], out: Path) -> Run:
    if process.wait():
        raise SystemExit(f"{out}: exit status {process.returncode}")
    return load_run(out)


def kill(launched: subprocess.Popen[bytes], rank: str, log: Path, rows: int) -> int:
    """Kill a process of the launch once there are so many rows; returns how many there were."""
    while not log.is_file() or log.read_text().count("\n") < rows:
        time.sleep(0.002)
    for child in psutil.Process(launched.pid).children():
        if child.environ().get("RANK") == rank:
            os.kill(child.pid, signal.SIGKILL)
    return log.read_text().count("\n")


def same_bits(a: Run, b: Run) -> bool:
    step = a.checkpoints.steps()[-1]
    files = [run.checkpoints.path(step) / "model.safetensors" for run in (a, b)]
    return files[0].read_bytes() == files[1].read_bytes() and a.predictions.read_bytes() == b.predictions.read_bytes()


def cut(run: Run, step: int, out: Path) -> None:
    """A copy as it would be if the run had been killed later, with ``step`` its newest checkpoint."""
    shutil.copytree(run.path, out)
    for later in run.checkpoints.steps():
        if later > step:
            shutil.rmtree(out / "checkpoints" / f"step_{later:08d}")
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "status": "running"}))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("config")
    parser.add_argument("data_root")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--cut", type=int, default=4)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2, 1, 3])
    parser.add_argument("--set", nargs="*", default=[])
    parser.add_argument("--kill", action="store_true")
    asked = parser.parse_args()
    settings = [f"train.max_steps={asked.steps}", "train.checkpoint.every_steps=1", "train.checkpoint.keep=100"]
    common = [asked.config, "--backend", "cpu", "--data-root", asked.data_root, "--set", *settings, *asked.set]
    out = asked.out
    whole = ended(train(4, *common, "--out", str(out / "whole")), out / "whole")
    print(f"{asked.config}: 4 processes, {asked.steps} steps of {whole.record.samples_per_step} samples", flush=True)
    if asked.kill:
        launched = train(4, *common, "--out", str(out / "killed"), restarts=3)
        rows = kill(launched, "2", out / "killed" / "scalars.jsonl", asked.cut)
        killed = ended(launched, out / "killed")
        resumed = [(taken.step, taken.by) for taken in killed.record.resumed]
        print(
            f"  process 2 killed after step {rows}: resumed {resumed}; same bits: {same_bits(killed, whole)}",
            flush=True,
        )
    for size in asked.sizes:
        folder = out / f"by{size}"
        cut(whole, asked.cut, folder)
        run = ended(train(size, "--resume", "--out", str(folder)), folder)
        (found,) = run.record.deviations
        same = [row.samples for row in run.scalars()] == [row.samples for row in whole.scalars()]
        print(
            f"  by {size}: {found.steps} steps, loss {found.loss:.1e}, gradient norm {found.grad_norm:.1e}, "
            f"parts {run.record.batch_parts}, samples alike: {same}, same bits: {same_bits(run, whole)}, "
            f"median step {run.record.training.step_time_median:.2f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()
