"""Evaluation of data that must be seen in order: by one process and by several."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor
from toy_plugin import ToyModel

from portbev.comm import Comm
from portbev.config import RunConfig
from portbev.data import open_root
from portbev.errors import ConfigError, DataError
from portbev.evaluate.inference import evaluate_model, predict
from portbev.models import Detections
from portbev.train.splits import check_evaluation
from portbev_cpu.backend import CpuBackend
from portbev_nuscenes.samples.sweeps import SweepDataset

pytestmark = pytest.mark.usefixtures("toy_family")


class Scenes(SweepDataset):
    """The samples of a scene must be visited in order."""

    def streams(self) -> Any:
        scenes = self._index.sample_scene[self.samples]
        return [np.flatnonzero(scenes == scene).tolist() for scene in dict.fromkeys(scenes.tolist())]

    def sample(self, index: int, epoch: int) -> Any:
        before = self._index.previous(int(self.samples[index]), 1)
        return {**super().sample(index, epoch), "previous": "" if before is None else self._token(before)}

    @staticmethod
    def collate(samples: Any) -> Any:
        return {**SweepDataset.collate(samples), "previous": [sample["previous"] for sample in samples]}


class Remembering(ToyModel):
    """Counts the frames of a scene that it has seen, and moves its boxes by as much."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.begin_stream()

    def begin_stream(self) -> None:
        self.last, self.count = "", 0

    def forward(self, batch: Any) -> Tensor:
        if batch["previous"][0] not in ("", self.last):
            raise DataError(f"{batch['previous'][0]} does not follow {self.last!r}")
        self.count = self.count + 1 if batch["previous"][0] else 0
        self.last = batch["tokens"][0]
        return super().forward(batch)

    def decode(self, outputs: Tensor, batch: Any) -> list[Detections]:
        found = super().decode(outputs, batch)
        found[0].boxes[:, 2] = self.count
        return found


class ThreadComm(Comm):
    """Processes played by threads; only what the evaluation needs."""

    def __init__(self, rank: int, board: list[Any], barrier: threading.Barrier) -> None:
        self.rank, self.size, self.board, self._wait = rank, len(board), board, barrier

    def gather(self, value: Any) -> list[Any]:
        self._wait.wait()
        self.board[self.rank] = value
        self._wait.wait()
        return list(self.board)

    def broadcast(self, value: Any) -> Any:
        return self.gather(value)[0]


@pytest.fixture
def make(toy: Callable[..., RunConfig], tiny_root: Path) -> Callable[..., tuple[RunConfig, Scenes, Remembering]]:
    def build(**changes: Any) -> tuple[RunConfig, Scenes, Remembering]:
        import torch
        from toy_plugin import ToyConfig

        config = toy(data__eval_split="synth_train", **changes)  # three scenes
        torch.manual_seed(0)
        return config, Scenes(config.data, open_root(tiny_root), "eval", seed=0), Remembering(ToyConfig())  # type: ignore[arg-type]

    return build


def on_ranks(count: int, work: Callable[[Comm], Any]) -> list[Any]:
    board: list[Any] = [None] * count
    barrier = threading.Barrier(count, timeout=60)
    results: list[Any] = [None] * count

    def run(rank: int) -> None:
        try:
            results[rank] = work(ThreadComm(rank, board, barrier))
        except BaseException as error:
            results[rank] = error
            barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("ranks", [2, 5])
def test_several_processes_score_streams_like_one(make: Any, tmp_path: Path, ranks: int) -> None:
    config, dataset, model = make()
    assert len(dataset.streams()) == 3
    alone = evaluate_model(model, dataset, config, backend=CpuBackend(), out=tmp_path / "1")
    assert alone is not None

    parts = [make() for _ in range(ranks)]

    def share(comm: Comm) -> Any:
        _, data, own = parts[comm.rank]
        return evaluate_model(own, data, config, backend=CpuBackend(), comm=comm, out=tmp_path / "n")

    for shared in on_ranks(ranks, share):
        assert not isinstance(shared, BaseException), shared
        assert {**shared, "inference": None} == {**alone, "inference": None}
    assert (tmp_path / "n" / "predictions.json").read_bytes() == (tmp_path / "1" / "predictions.json").read_bytes()


def test_samples_come_back_in_dataset_order_when_streams_are_interleaved(make: Any) -> None:
    config, dataset, model = make()
    mixed = dataset.subset([0, 4, 1, 5, 8, 2, 6, 3])
    found = predict(model, mixed, config, backend=CpuBackend())
    assert found is not None
    heights = [sample["translation"][0][2] for sample in found[0]]
    grounds = [mixed.sample(n, 0)["frame2global"][2, 3] for n in range(len(mixed))]
    assert np.round(np.subtract(heights, grounds)).tolist() == [0, 0, 1, 1, 0, 2, 2, 3]


def test_a_model_forgets_before_every_evaluation(make: Any) -> None:
    config, dataset, model = make()
    first = predict(model, dataset, config, backend=CpuBackend())
    assert model.last == ""
    model.last, model.count = "stale", 7
    again = predict(model, dataset, config, backend=CpuBackend())
    assert first is not None and again is not None and first[0] == again[0]


def test_streams_with_larger_batches_are_refused_before_training(make: Any) -> None:
    config, dataset, _ = make(eval__batch_size=2)
    with pytest.raises(ConfigError, match=r"eval\.batch_size"):
        check_evaluation(config, dataset)


def test_a_metric_that_the_benchmark_lacks_is_refused_before_training(make: Any) -> None:
    config, dataset, _ = make(train__checkpoint={"best": "nd_scor"})
    with pytest.raises(ConfigError, match=r"train\.checkpoint\.best: .*'nd_scor'.*Did you mean 'nd_score'"):
        check_evaluation(config, dataset)
