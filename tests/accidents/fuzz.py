"""A seeded fuzzer over everything that portbev reads.

``python tests/accidents/fuzz.py --count 2000 --seed 0`` damages a file, lets a command read it, and reports whatever is
more than one line that refuses it: a traceback, a hang, a start of another program, a changed file outside the output,
memory beyond a bound. ``--only N`` repeats one trial and shows what the command said.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from fuzz_jail import Verdict, run_jailed
from fuzz_mutations import mutate
from fuzz_specimens import Specimen, place, prepare


@dataclass(frozen=True)
class Trial:
    """One damaged file and what became of the command that read it."""

    number: int
    specimen: str
    file: str
    damage: str
    command: tuple[str, ...]
    verdict: Verdict

    def __str__(self) -> str:
        faults = "; ".join(self.verdict.faults) or "ok"
        return f"trial {self.number}: {self.specimen} {self.file}, {self.damage}: {faults}"


class Fuzzer:
    """Damages the specimens, which it makes below ``base``."""

    def __init__(self, base: Path, seed: int) -> None:
        self.base, self.seed = base, seed
        caches = {"PORTBEV_CACHE": "", "MPLCONFIGDIR": "matplotlib", "TORCHINDUCTOR_CACHE_DIR": "inductor"}
        os.environ.update({name: str(base / "cache" / folder) for name, folder in caches.items()})
        os.environ.update(COLUMNS="200", NO_COLOR="1")
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
            os.environ.pop(name, None)
        self.specimens = prepare(base)
        _import_all()

    def trials(self, numbers: Sequence[int]) -> Iterator[Trial]:
        """The trials of these numbers, which depend on seed and number alone."""
        for number in numbers:
            yield self.trial(number)

    def trial(self, number: int) -> Trial:
        rng = random.Random(f"{self.seed} {number}")
        specimen = self.specimens[number % len(self.specimens)]
        file = rng.choice(specimen.files) if specimen.files else specimen.source.name
        content = (specimen.source / file if specimen.files else specimen.source).read_bytes()
        damaged, said = mutate(content, file, rng)
        with tempfile.TemporaryDirectory(prefix="trial", dir=self.base) as folder:
            at = Path(folder) / specimen.source.name
            place(specimen, file, damaged, at)
            command = rng.choice(specimen.commands)(rng, at)
            writable = [self.base / "cache", *([at] if specimen.real else [])]
            verdict = run_jailed(command, cwd=Path(folder), writable=writable)
        return Trial(number, specimen.name, file, said, tuple(command), verdict)


def signature(specimens: Sequence[Specimen]) -> dict[str, tuple[int, int]]:
    """Size and time of every file of the specimens, to see that none was written to."""
    files = [s.source / f for s in specimens for f in s.files] + [s.source for s in specimens if not s.files]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def _import_all() -> None:
    """Import what the commands need before the first fork, so that each trial is quick."""
    import importlib

    import torch

    torch.set_num_threads(1)
    modules = (
        *("portbev.cli.train", "portbev.cli.eval", "portbev.cli.viz", "portbev.cli.data", "portbev.cli.parity"),
        *("portbev.train", "portbev.evaluate.checkpoints", "portbev.viz.views", "portbev.viz.pictures"),
        *("portbev.parity.render.write", "portbev.parity.assemble", "rich.progress", "cv2", "PIL.Image", "matplotlib"),
        *("portbev_bevdepth.model", "portbev_bevformer.model", "portbev_echofusion.model", "torch.utils.data"),
        *("portbev_nuscenes.samples.queue", "portbev_nuscenes.samples.sweeps", "portbev_nuscenes.check"),
        *("portbev_nuscenes.views", "portbev_radial.dataset", "portbev_radial.views", "portbev_radial.check"),
        "torch._dynamo",  # training imports it, and it brings sympy
    )
    for module in modules:
        importlib.import_module(module)
    from portbev.plugins import plugins

    found = plugins()
    for records in (found.models, found.datasets, found.benchmarks, found.backends, found.kernels):
        records()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int, action="append", help="repeat this trial; repeatable")
    parser.add_argument("--keep", type=Path, help="folder with the specimens, made if it is absent")
    given = parser.parse_args()
    base = given.keep or Path(tempfile.mkdtemp(prefix="fuzz"))
    base.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    try:
        fuzzer = Fuzzer(base, given.seed)
        before = signature(fuzzer.specimens)
        bad, memory, slowest, refused = 0, 0, 0.0, 0
        numbers = given.only or range(given.count)
        for trial in fuzzer.trials(numbers):
            bad += bool(trial.verdict.faults)
            memory = max(memory, trial.verdict.memory)
            slowest = max(slowest, trial.verdict.seconds)
            refused += trial.verdict.status == 2
            if trial.verdict.faults or given.only:
                print(trial, f"  portbev {' '.join(trial.command)}", trial.verdict.output[-1500:], sep="\n", flush=True)
        changed = before != signature(fuzzer.specimens)
        if changed:
            print("a file outside the output was changed")
        print(
            f"{len(numbers)} trials: {bad} with a fault, {refused} refused; at most {slowest:.1f} s and "
            f"{memory / 2**20:.0f} MiB each; {time.monotonic() - started:.0f} s in all"
        )
        return int(bool(bad or changed))
    finally:
        if given.keep is None:
            shutil.rmtree(base, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
