"""The data of a training run: both splits, and what must be right about them before hours of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.data import Dataset, build_dataset, open_root
from portbev.data.loader import build_loader
from portbev.errors import PortbevError
from portbev.evaluate.benchmark import find_benchmark, find_metric


@dataclass(frozen=True)
class Splits:
    """Training and evaluation split. ``source``: the data root as it was given."""

    train: Dataset
    eval: Dataset
    steps_per_epoch: int
    source: Path | str | None


def open_splits(config: RunConfig, data_root: Path | str | None, comm: Comm) -> Splits:
    """Both splits; the first process goes first, because it may generate the data or write the index.

    Raises:
        PortbevError: the data cannot be used, are too few for a step, or cannot be evaluated as configured.
    """
    source = data_root or config.data.root
    opened: list[Dataset] = []

    def load() -> None:
        root = open_root(source)
        opened.append(build_dataset(config.data, root, "train", seed=config.train.seed))
        opened.append(build_dataset(config.data, root, "eval", seed=config.train.seed))

    comm.on_main(load)
    if not opened:
        load()
    train_data, eval_data = opened
    check_evaluation(config, eval_data)
    return Splits(train_data, eval_data, _steps_per_epoch(config, train_data, comm), source)


def check_evaluation(config: RunConfig, data: Dataset) -> None:
    """Raise what would stop the evaluation after hours of training."""
    find_metric(find_benchmark(data.benchmark), config.train.checkpoint.best)
    build_loader(data, batch_size=config.eval.batch_size, workers=0, seed=0, epoch=0, part="eval")


def _steps_per_epoch(config: RunConfig, data: Dataset, comm: Comm) -> int:
    loader = build_loader(
        data,
        batch_size=config.train.batch_size,
        workers=0,
        seed=config.train.seed,
        epoch=0,
        part="train",
        rank=comm.rank,
        world_size=comm.size,
    )
    steps = len(loader) // config.train.accumulate
    if steps == 0:
        what = f"{len(data)} training samples are fewer than one optimizer step takes"
        raise PortbevError(what, where="train.accumulate", cure="Lower train.accumulate or train.batch_size")
    return steps
