"""What a dump costs: a full-size training step, plain, with hashes and with sketches of all that it computes.

    python benchmarks/parity_dump.py [--config tiny] [--threads 2] [--repeats 3] [--no-bands]
        [--keep-freed-memory null|false|true]

A step of BEVFormer as training takes it, on noise of the published size: the frames of history, forward, losses,
backward, update. Each round takes the plain step, the step with hashes and the step with sketches in turn, in this
process; the ratios are of the medians, by the clock and by the process's CPU time (on a busy machine the clock says
little). Then, once: what the bands take (the step moved by one unit in the last place, twice, and with sums in another
order), the dump's size, and the seconds that reading two dumps and comparing them take.

New pages of memory cost a step as much as two fifths of its time. ``--keep-freed-memory`` is the configuration's
``compute.keep_freed_memory``. Where it is ``false``, glibc keeps freed memory or gives it back, by chance;
``MALLOC_MMAP_THRESHOLD_=131072`` in the environment makes it always give it back. Rounds that are not measured come
first, until the heap has grown to what a step needs.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple, cast

import torch

from portbev.bench.models import batches_of
from portbev.bench.step import model_of, parts_without_data
from portbev.config import RunConfig, load_config
from portbev.models import Batch
from portbev.parity.dumps import writing
from portbev.parity.dumps.compare import compare
from portbev.parity.dumps.reading import load_dump
from portbev.parity.dumps.sketch import Level
from portbev.recording.dump import Plan, record_step
from portbev.recording.recorder import Recorder
from portbev.recording.step import RecordedStep
from portbev.runs.record import RunRecord
from portbev.runtime import activate
from portbev.testing.runs import make_record

WARM_UP = 2  # rounds
CONFIGS = Path(__file__).parents[1] / "configs" / "bevformer"


class Spent(NamedTuple):
    """Seconds by the clock and of the processors, and millions of pages of memory that were new to the process."""

    wall: float
    cpu: float
    faults: float

    def __str__(self) -> str:
        return f"{self.wall:7.2f} s wall {self.cpu:7.2f} s CPU {self.faults:6.2f} M new pages"


def timed(work: Callable[[], Any]) -> Spent:
    wall, cpu, faults = time.perf_counter(), time.process_time(), _faults()
    work()
    return Spent(time.perf_counter() - wall, time.process_time() - cpu, (_faults() - faults) / 1e6)


def _faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def make_step(config: RunConfig) -> RecordedStep:
    """A step that needs no data."""
    backend = activate("cpu", deterministic=config.compute.deterministic)
    for note in backend.prepare_host(config.compute):
        print(f"note: {note}")
    model = model_of(config)
    backend.prepare_model(model, config.compute)
    batch = batches_of(config, "train")[-1]
    prepare = model.preparation(training=True)
    if prepare is not None:  # the loader's workers do it
        batch = cast(Batch, {**batch, "prepared": prepare(batch)})
    parts = parts_without_data(backend, config, model)
    parts.writer = cast(Any, SimpleNamespace(record=RunRecord.model_validate(make_record(config))))
    return RecordedStep(parts, "train", 0, 0, [batch])


def recorded(step: RecordedStep, level: Level, folder: Path) -> int:
    """Take the step once with records written to disk; returns the bytes."""
    out = folder / level
    writing.begin(out)
    writer = writing.RankWriter(out, 0)
    step.take(Recorder(writer, level))
    size = sum(facts["bytes"] for facts in writer.close().values())
    writing.abandon(out)
    return size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="tiny", help="of configs/bevformer")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-bands", action="store_true", help="leave out what is measured once")
    parser.add_argument("--keep-freed-memory", choices=("null", "false", "true"), default="null")
    options = parser.parse_args()
    compute = {"threads": options.threads, "keep_freed_memory": options.keep_freed_memory}
    config = load_config(CONFIGS / f"{options.config}.yaml", [f"compute.{k}={v}" for k, v in compute.items()])
    step = make_step(config)
    print(f"BEVFormer {options.config}, one training step, {options.threads} threads, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as temporary:
        folder, sizes = Path(temporary), dict[str, int]()
        ways: dict[str, Callable[[], Any]] = {
            "plain": step.plain,
            "hashes": lambda: sizes.update(hashes=recorded(step, "hashes", folder)),
            "sketch": lambda: sizes.update(sketch=recorded(step, "sketch", folder)),
        }
        for _ in range(WARM_UP):
            for way in ways.values():
                way()
        rows: dict[str, list[Spent]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                rows[name].append(timed(way))
                print(f"  {name:8} {rows[name][-1]}", flush=True)
        medians = {
            name: Spent(*(statistics.median(c) for c in zip(*found, strict=True))) for name, found in rows.items()
        }
        plain = medians["plain"]
        for name, found in medians.items():
            told = f"{name:8} {found}"
            if name != "plain":
                told += f"   ratio {found.wall / plain.wall:.2f} wall {found.cpu / plain.cpu:.2f} CPU"
                told += f"   {sizes[name] / 1e6:.1f} MB"
            print(told)
        if not options.no_bands:
            measured_once(step, folder)


def measured_once(step: RecordedStep, folder: Path) -> None:
    out = folder / "dump"
    writing.begin(out)
    header = record_step(step, out, Plan())
    for rerun in header.reruns:
        print(f"band: {rerun.how}: {rerun.seconds:.2f} s")
    size = sum(facts.bytes for facts in header.files.values())
    print(f"dump: {sum(rank.records for rank in header.ranks)} records, {size / 1e6:.1f} MB")
    shutil.copytree(out, folder / "other")
    spent = timed(lambda: compare(load_dump(out), load_dump(folder / "other")))
    print(f"reading two dumps and comparing them: {spent.wall:.2f} s wall {spent.cpu:.2f} s CPU")


if __name__ == "__main__":
    main()
