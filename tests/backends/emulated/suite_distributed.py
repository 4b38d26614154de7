"""Two processes on the emulated npu over hccl: DDP, SyncBatchNorm, objects, refusals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = Path(__file__).with_name("two_ranks.py")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What each of two processes found, see ``two_ranks.py``."""
    folder = tmp_path_factory.mktemp("ranks")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "WORLD_SIZE": "2"}
    started = [
        subprocess.Popen(
            [sys.executable, str(WORKER), str(folder)],
            env={**environment, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(2)
    ]
    said = [process.communicate(timeout=240)[0] for process in started]
    for process, text in zip(started, said, strict=True):
        assert process.returncode == 0, text
    return [json.loads((folder / f"rank{rank}.json").read_text()) for rank in range(2)]


def test_the_group_is_hccl_on_npu(ranks: list[dict]) -> None:
    assert [found["backend"] for found in ranks] == ["hccl", "hccl"]
    assert [found["device"] for found in ranks] == ["npu:0", "npu:0"]


def test_ddp_weights_agree_between_ranks_and_follow_the_mean_gradient(ranks: list[dict]) -> None:
    assert ranks[0]["weights"] == ranks[1]["weights"]
    assert ranks[0]["weights"] == pytest.approx(ranks[0]["expected_weights"], abs=1e-6)


def test_sync_batch_norm_equals_one_process_with_the_whole_batch(ranks: list[dict]) -> None:
    for found in ranks:
        assert found["sync_output_error"] < 1e-5
        assert found["sync_grad_error"] < 1e-5
        assert found["running_error"] < 1e-6


def test_collectives_give_what_they_promise(ranks: list[dict]) -> None:
    for found in ranks:
        assert found["all_reduce"] == [3.0, 3.0]
        assert found["broadcast"] == [2.0, 2.0]
        assert found["all_gather"] == [[1.0, 1.0], [2.0, 2.0]]
        assert found["reduce_scatter"] == [3.0]
        assert found["objects"] == ["rank 0", "rank 1"]


def test_hccl_takes_no_host_tensors_and_a_mixed_group_does(ranks: list[dict]) -> None:
    for found in ranks:
        assert "npu tensors" in found["host_error"]
        assert found["mixed"] == [2.0]
