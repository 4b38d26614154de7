"""Kills commands at random moments, runs them again, and compares what they leave with an undisturbed run's.

    python tests/accidents/kills.py --count 100 --seed 0

Each strike is a SIGKILL to the whole process group of training, evaluation, data generation or conversion, in turn. The
command then runs again as a person would start it, until it ends; its files must have the bytes of the undisturbed run,
its inputs must be as they were, no temporary file may be left, and no finished checkpoint may be lost on the way.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

NUSCENES = ["--scenes", "3", "--val-scenes", "1", "--samples", "3", "--sweeps", "0", "--image-size", "200x112",
            "--lidar-steps", "270", "--workers", "2"]  # fmt: skip
RADIAL = ["--sequences", "3", "--frames", "3", "--samples", "64", "--chirps", "32", "--azimuths", "31",
          "--image-size", "192x108", "--workers", "2"]  # fmt: skip
TRAIN = ["--backend", "cpu", "--resume", "--set", "train.epochs=3", "--set", "train.checkpoint.every_steps=2",
         "--set", "train.checkpoint.keep=1000", "--set", "train.eval_every=1"]  # fmt: skip
LIMIT = 600
"""Seconds that a command may take; longer is a hang."""


@dataclass
class Victim:
    """A command that is killed.

    Attributes:
        words: the command, given where it writes.
        content: what must be the same, given where it wrote.
        out: where the present attempt writes.
        kills: of the present attempt.
    """

    name: str
    words: Callable[[Path], Sequence[object]]
    content: Callable[[Path], dict[str, str]]
    out: Path = Path()
    seconds: float = 0.0
    expected: dict[str, str] = field(default_factory=dict)
    kills: int = 0
    best: int = 0


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Every file below ``folder``, hidden ones too."""
    return {str(p.relative_to(folder)): digest(p.read_bytes()) for p in sorted(folder.rglob("*")) if p.is_file()}


def results(folder: Path) -> dict[str, str]:
    """Predictions and metrics, without the times and places of the metrics."""
    metrics = json.loads((folder / "metrics.json").read_text())
    for key in ("inference", "checkpoint"):
        metrics.pop(key, None)
    found = {"metrics.json": digest(json.dumps(metrics, sort_keys=True).encode())}
    found["predictions.json"] = digest((folder / "predictions.json").read_bytes())
    return {**found, **dict.fromkeys(leftovers(folder), "left behind")}


def run(folder: Path) -> dict[str, str]:
    """Results, the last checkpoint, and the rows without their times."""
    last = sorted((folder / "checkpoints").glob("step_*"))[-1]
    rows = [json.loads(line) for line in (folder / "scalars.jsonl").read_text().splitlines()]
    kept = [{key: value for key, value in row.items() if not key.endswith("_time")} for row in rows]
    files = {name: digest((last / name).read_bytes()) for name in ("model.safetensors", "ema.safetensors", "state.pt")}
    return {**results(folder), **files, "last": last.name, "scalars": digest(json.dumps(kept).encode())}


def leftovers(folder: Path) -> list[str]:
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.name.endswith(".part") or p.name == "run.lock"]


def start(words: Sequence[object]) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "portbev", *map(str, words)]
    return subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(process: subprocess.Popen[str], name: str) -> None:
    _, said = process.communicate(timeout=LIMIT)
    if process.returncode:
        raise SystemExit(f"{name} ended with {process.returncode}: {said.strip()[-600:]}")


def prepared(folder: Path) -> list[Victim]:
    """The commands, each run once undisturbed; and what they read."""
    data, radar, trained = folder / "nuscenes", folder / "radial", folder / "trained"
    victims = [
        Victim("generation (nuscenes)", lambda out: ["data", "synth", "nuscenes", out, *NUSCENES], tree),
        Victim("generation (radial)", lambda out: ["data", "synth", "radial", out, *RADIAL], tree),
        Victim("conversion", lambda out: ["data", "convert", "radial", radar, out], tree),
        Victim("training", lambda out: ["train", "bevdepth/tiny_test", *TRAIN, "--data-root", data, "--out", out], run),
        Victim("evaluation", lambda out: ["eval", trained, "--backend", "cpu", "--out", out], results),
    ]
    places = [data, radar, folder / "converted", trained, folder / "evaluated"]
    for victim, place in zip(victims, places, strict=True):
        started = time.monotonic()
        finish(start(victim.words(place)), victim.name)
        victim.seconds = time.monotonic() - started
        victim.expected = victim.content(place)
        print(f"undisturbed {victim.name}: {victim.seconds:.1f} s, {len(victim.expected)} things compared", flush=True)
    return victims


def strike(victim: Victim, draw: random.Random) -> bool:
    """Start the command and kill it at a random moment of its time; returns whether it was still there."""
    process = start(victim.words(victim.out))
    try:
        _, said = process.communicate(timeout=draw.uniform(0.0, victim.seconds))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        victim.kills += 1
        whole = len(list((victim.out / "checkpoints").glob("step_*"))) if victim.name == "training" else 0
        if whole < victim.best:
            raise SystemExit(f"{victim.name}: {victim.best} checkpoints before, {whole} after a kill") from None
        victim.best = whole
        return True
    if process.returncode:
        raise SystemExit(f"{victim.name} ended with {process.returncode}: {said.strip()[-600:]}")
    return False


def complete(victim: Victim) -> None:
    """Let the present attempt end, compare it, and begin another."""
    finish(start(victim.words(victim.out)), victim.name)
    found = victim.content(victim.out)
    differing = sorted(key for key in {*found, *victim.expected} if found.get(key) != victim.expected.get(key))
    if differing:
        raise SystemExit(f"{victim.name} after {victim.kills} kills differs in {', '.join(differing[:8])}")
    print(f"{victim.name}: the same after {victim.kills} kills", flush=True)
    shutil.rmtree(victim.out)
    victim.kills = victim.best = 0


def main() -> None:
    """Strike ``--count`` times and say what came of it."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--count", type=int, default=100, help="kills in all")
    options.add_argument("--seed", type=int, default=0, help="of the moments")
    given = options.parse_args()
    draw = random.Random(given.seed)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="kills") as name:
        folder = Path(name)
        victims = prepared(folder)
        inputs = {place: tree(folder / place) for place in ("nuscenes", "radial", "trained")}
        done = 0
        while done < given.count:
            victim = victims[done % len(victims)]
            victim.out = folder / f"struck {victims.index(victim)}"
            struck = strike(victim, draw)
            done += struck
            if victim.kills >= 4 or not struck:
                complete(victim)
        for victim in victims:
            if victim.kills:
                complete(victim)
        for place, before in inputs.items():
            if tree(folder / place) != before:
                raise SystemExit(f"{place}, which was only read, is not as it was")
    print(
        f"{done} kills, nothing lost, the same bytes every time ({time.monotonic() - started:.0f} s, seed {given.seed})"
    )


if __name__ == "__main__":
    main()
