"""Batches: their order and content, whatever the workers and ranks."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from portbev.data import build_dataset, open_root
from portbev.data.loader import batch_indices, build_loader
from portbev.data.streams import every_nth
from portbev.errors import ConfigError, DataError, PortbevError
from portbev.models import Batch
from portbev_nuscenes.config import NuscenesData
from portbev_nuscenes.samples.sweeps import SweepDataset
from portbev_nuscenes.synth import SynthOptions, generate

OPTIONS = SynthOptions(
    scenes=3, val_scenes=1, samples_per_scene=3, seed=5, image_size=(128, 72), sweeps=0, lidar_beams=6, lidar_steps=60
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("loader") / "root", OPTIONS, workers=1)


@pytest.fixture
def dataset(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepDataset:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    image: Any = {"source_size": (72, 128), "final_size": (32, 96), "resize": (0.75, 1.0)}
    section = NuscenesData(version="v1.0-mini", train_split="synth_train", eval_split="synth_val", image=image)
    return build_dataset(section, root, "train", seed=0)


def assert_equal(ours: Iterable[Batch], theirs: Iterable[Batch]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        assert one["tokens"] == other["tokens"]
        assert torch.equal(one["images"], other["images"])
        assert all(torch.equal(one["mats"][name], other["mats"][name]) for name in one["mats"])  # type: ignore[literal-required]
        assert one["depth"] is not None and other["depth"] is not None and torch.equal(one["depth"], other["depth"])
        for name in ("boxes", "labels"):
            for a, b in zip(one[name], other[name], strict=True):  # type: ignore[literal-required]
                np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(one["frame2global"], other["frame2global"])


def flat(lists: Iterable[list[Any]]) -> list[Any]:
    return list(chain.from_iterable(lists))


def load(dataset: SweepDataset, **changes: Any) -> list[Batch]:
    how = {"batch_size": 2, "workers": 0, "seed": 1, "epoch": 0, "part": "train", **changes}
    return list(build_loader(dataset, **how))


def test_two_workers_give_the_batches_of_none(dataset: SweepDataset) -> None:
    assert_equal(load(dataset, workers=2), load(dataset))


def names_of(batch: Batch) -> list[str]:
    """Stands for what a model wants of each batch."""
    return [f"{os.getpid()} {token}" for token in batch["tokens"]]


def refuse(batch: Batch) -> None:
    raise DataError("no camera", where=batch["tokens"][0])


def test_what_a_model_wants_of_a_batch_is_computed_where_it_is_loaded(dataset: SweepDataset) -> None:
    batches = load(dataset, workers=1, prepare=names_of)
    for batch in batches:
        processes = {name.split()[0] for name in batch["prepared"]}
        assert [name.split()[1] for name in batch["prepared"]] == batch["tokens"] and str(os.getpid()) not in processes
    assert "prepared" not in load(dataset)[0]


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_be_prepared_is_told_in_the_words_of_who_refused_it(dataset: SweepDataset, workers: int) -> None:
    with pytest.raises(DataError, match="no camera") as raised:
        load(dataset, workers=workers, prepare=refuse)
    assert raised.value.where in dataset.tokens


def test_spawned_workers_give_them_too(dataset: SweepDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = load(dataset)
    monkeypatch.setattr("torch.multiprocessing.get_start_method", lambda allow_none=False: "spawn")
    loader = build_loader(dataset, batch_size=2, workers=1, seed=1, epoch=0, part="train")
    loader._loader.multiprocessing_context = "spawn"
    assert_equal(loader, expected)


def test_a_started_epoch_goes_on_where_it_stopped(dataset: SweepDataset) -> None:
    whole = load(dataset)
    loader = build_loader(dataset, batch_size=2, workers=0, seed=1, epoch=0, part="train", start_batch=1)
    assert len(loader) == len(whole) - 1 == 2
    assert_equal(loader, whole[1:])


def test_ranks_together_load_the_global_batches_of_one_process(dataset: SweepDataset) -> None:
    whole = load(dataset, batch_size=2)
    ranks = [load(dataset, batch_size=1, rank=rank, world_size=2) for rank in range(2)]
    for batch, one, other in zip(whole, *ranks, strict=True):
        assert batch["tokens"] == one["tokens"] + other["tokens"]
        assert torch.equal(batch["images"], torch.cat([one["images"], other["images"]]))


def test_epochs_differ_in_order_and_draws(dataset: SweepDataset) -> None:
    first, second = load(dataset), load(dataset, epoch=1)
    assert [batch["tokens"] for batch in first] != [batch["tokens"] for batch in second]
    assert sorted(flat(b["tokens"] for b in first)) == sorted(flat(b["tokens"] for b in second))


@pytest.mark.parametrize("workers", [0, 2])
def test_no_global_random_state_is_read_or_changed(dataset: SweepDataset, workers: int) -> None:
    expected = load(dataset)
    torch.manual_seed(11)
    np.random.seed(12)
    random.seed(13)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()  # type: ignore[index]
    assert_equal(load(dataset, workers=workers), expected)
    assert torch.equal(before[0], torch.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]
    assert before[2] == random.getstate()


@given(st.integers(1, 60), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3))
def test_ranks_share_a_training_epoch(count: int, batch_size: int, world: int, epoch: int) -> None:
    whole = world * batch_size
    how = {"batch_size": batch_size, "seed": 0, "epoch": epoch, "part": "train", "world_size": world}
    if count < whole:
        with pytest.raises(DataError, match="do not fill one global batch"):
            batch_indices(count, rank=0, **how)  # type: ignore[arg-type]
        return
    ranks = [batch_indices(count, rank=rank, **how) for rank in range(world)]  # type: ignore[arg-type]
    assert {len(mine) for mine in ranks} == {count // whole}
    together = [flat(batches) for batches in zip(*ranks, strict=True)]
    single = batch_indices(count, batch_size=whole, seed=0, epoch=epoch, part="train")
    assert together == single
    assert len(set(flat(single))) == count // whole * whole


@given(st.integers(0, 60), st.integers(1, 5), st.integers(1, 4))
def test_ranks_share_an_evaluation_without_repeating(count: int, batch_size: int, world: int) -> None:
    how: Any = {"batch_size": batch_size, "seed": 0, "epoch": 0, "part": "eval", "world_size": world}
    ranks = [flat(batch_indices(count, rank=rank, **how)) for rank in range(world)]
    assert sorted(flat(ranks)) == list(range(count))
    assert all(mine == list(range(rank, count, world)) for rank, mine in enumerate(ranks))


@given(st.lists(st.integers(1, 9), max_size=12), st.integers(1, 5), st.randoms(use_true_random=False))
def test_no_stream_is_cut_and_ranks_carry_alike(lengths: list[int], world: int, shuffle: random.Random) -> None:
    starts = [sum(lengths[:n]) for n in range(len(lengths))]
    streams = [list(range(start, start + length)) for start, length in zip(starts, lengths, strict=True)]
    shuffle.shuffle(streams)
    how: Any = {"batch_size": 1, "seed": 0, "epoch": 0, "part": "eval", "world_size": world, "streams": streams}
    ranks = [flat(batch_indices(sum(lengths), rank=rank, **how)) for rank in range(world)]
    assert sorted(flat(ranks)) == list(range(sum(lengths)))
    for stream in streams:
        (home,) = (mine for mine in ranks if stream[0] in mine)
        begin = home.index(stream[0])
        assert home[begin : begin + len(stream)] == stream
    assert max(map(len, ranks)) - min(map(len, ranks)) <= max(lengths, default=0)


def test_streams_are_evaluated_one_sample_at_a_time() -> None:
    with pytest.raises(ConfigError, match=r"eval\.batch_size: 2 samples a batch.*eval\.batch_size=1"):
        batch_indices(4, batch_size=2, seed=0, epoch=0, part="eval", streams=[[0, 1], [2, 3]])


def test_thinning_leaves_out_samples_but_only_whole_streams(dataset: SweepDataset) -> None:
    assert every_nth(dataset, 1) is dataset
    assert every_nth(dataset, 2).tokens == dataset.tokens[::2]

    class Streaming(SweepDataset):
        def streams(self) -> Any:
            return [[0, 1], [2], [3, 4, 5]]

    dataset.__class__ = Streaming
    assert every_nth(dataset, 2).tokens == [dataset.tokens[n] for n in (0, 1, 3, 4, 5)]


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_a_worker_is_the_same_single_line(dataset: SweepDataset, tmp_path: Path, workers: int) -> None:
    dataset.root = tmp_path
    with pytest.raises(DataError) as caught:
        load(dataset, workers=workers)
    assert "image is missing" in caught.value.what and caught.value.where.startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_data_roots_are_folders_or_synthetic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "cache"))
    assert open_root(tmp_path) == tmp_path
    with pytest.raises(PortbevError, match="--data-root"):
        open_root(None)
    with pytest.raises(DataError, match="no such data root"):
        open_root(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not a folder"):
        open_root(tmp_path / "file")
    tiny = "synthetic:?scenes=1&samples_per_scene=1&image_size=64x36&lidar_beams=2&lidar_steps=16&sweeps=0"
    assert (open_root(tiny) / "v1.0-mini" / "sample.json").is_file()
