"""The data of a training run: both splits, and what must be right about them before hours of training."""

from __future__ import annotations

import socket
from dataclasses import dataclass, replace
from pathlib import Path

from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.data import Dataset, Summary, build_dataset, open_root
from portbev.data.loader import build_loader
from portbev.data.root import lasting_root, root_notes
from portbev.errors import DataError, PortbevError
from portbev.evaluate.benchmark import find_benchmark, find_metric
from portbev.launcher import launch
from portbev.train.shares import Shares


@dataclass(frozen=True)
class Splits:
    """Training and evaluation split.

    Attributes:
        source: the data root as it was given, with a folder written out.
        train_summary, eval_summary: what is learnt from and scored against; in the first process only.
        notes: what the looking over found worth a note.
    """

    train: Dataset
    eval: Dataset
    steps_per_epoch: int
    source: str | None
    train_summary: Summary | None = None
    eval_summary: Summary | None = None
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """What is learnt from and scored against, for people."""
        named = (("training on", self.train, self.train_summary), ("evaluating on", self.eval, self.eval_summary))
        lines = []
        for what, data, summary in named:
            if summary is not None:
                first, *others = summary.lines()
                lines += [f"{what} {data.split}: {first}", *(f"  {line}" for line in others)]
        return lines


def open_splits(config: RunConfig, data_root: Path | str | None, comm: Comm, shares: Shares) -> Splits:
    """Both splits; the first process goes first, because it may generate the data or write the index, and then the
    first one of each other machine, which may have a disk of its own.

    Raises:
        PortbevError: the data cannot be used, are too few for a step, cannot be evaluated as configured, or are not the
            same on all machines.
    """
    given = data_root or config.data.root
    source = lasting_root(given) if given else None
    opened: list[Dataset] = []

    def load() -> None:
        root = open_root(source)
        opened.append(build_dataset(config.data, root, "train", seed=config.train.seed))
        opened.append(build_dataset(config.data, root, "eval", seed=config.train.seed))

    comm.on_main(load)
    for first_here in (True, False):
        if not opened and (launch().local_rank == 0) == first_here:
            load()
        comm.barrier()
    train_data, eval_data = opened
    _check_alike(train_data, eval_data, comm)
    steps = _steps_per_epoch(config, train_data, shares)
    looked: list[Splits] = []

    def look() -> None:
        looked.append(_looked_over(Splits(train_data, eval_data, steps, source), config))

    comm.on_main(look)
    return looked[0] if looked else Splits(train_data, eval_data, steps, source)


def _looked_over(data: Splits, config: RunConfig) -> Splits:
    """``data`` with what there is to know of it; raises what would stop the run after hours of training."""
    data.train.check()
    data.eval.check()
    check_evaluation(config, data.eval)
    benchmark = find_benchmark(data.eval.benchmark)
    notes = benchmark.check(data.eval) if data.eval.labelled else [_unscored(data.eval)]
    learnt = data.train.summary()
    if learnt.boxes and not learnt.kept:
        reasons = "; ".join(f"{count} {reason}" for reason, count in learnt.dropped.items())
        what = f"split {data.train.split!r} has no box to train on" + (f" ({reasons})" if reasons else "")
        raise DataError(what, where=str(data.train.root), cure="Choose another split, or change what leaves boxes out")
    notes = [*root_notes(data.train.root), *notes]
    return replace(data, train_summary=learnt, eval_summary=data.eval.summary(), notes=tuple(notes))


def check_evaluation(config: RunConfig, data: Dataset) -> None:
    """Raise a ConfigError for settings with which ``data`` cannot be evaluated."""
    find_metric(find_benchmark(data.benchmark), config.train.checkpoint.best)
    build_loader(data, batch_size=config.eval.batch_size, workers=0, seed=0, epoch=0, part="eval")


def _unscored(data: Dataset) -> str:
    return f"split {data.split} has no annotations: predictions will be written and not scored"


def _check_alike(train: Dataset, evaluation: Dataset, comm: Comm) -> None:
    """Raise a DataError where a machine has other data than the first process."""
    found = comm.gather([socket.gethostname(), train.digest(), evaluation.digest()])
    for host, *digests in found:
        if digests != found[0][1:]:
            what = f"the data on {host} are not those on {found[0][0]}: their digests differ"
            cure = "Copy them anew, or give a folder that all machines share"
            raise DataError(what, where=str(train.root), cure=cure)


def _steps_per_epoch(config: RunConfig, data: Dataset, shares: Shares) -> int:
    loader = build_loader(
        data,
        batch_size=shares.batch_size,
        workers=0,
        seed=config.train.seed,
        epoch=0,
        part="train",
        rank=shares.mine[0],
        world_size=shares.parts,
    )
    steps = len(loader) // config.train.accumulate
    if steps == 0:
        what = f"{len(data)} training samples are fewer than one optimizer step takes"
        raise PortbevError(what, where="train.accumulate", cure="Lower train.accumulate or train.batch_size")
    return steps
