"""Processes that torchrun started again meet each other, and not what the dead left in the store."""

from __future__ import annotations

import random
import threading

import pytest
import torch.distributed as dist

from portbev.launcher.meeting import agreed_name


def meet(store: dist.Store, size: int, order: list[int]) -> list[str]:
    """The names that the processes agree on, which come in this order."""
    names = [""] * size

    def come(rank: int) -> None:
        names[rank] = agreed_name(store, rank, size, 20)

    threads = [threading.Thread(target=come, args=(rank,)) for rank in order]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return names


def test_each_start_has_one_name_that_no_earlier_one_had() -> None:
    store = dist.HashStore()
    seen: set[str] = set()
    draws = random.Random(0)
    for size in (4, 4, 2, 3, 1, 4):  # machines come and go; the last comes first, or in between
        names = meet(store, size, draws.sample(range(size), size))
        assert len(set(names)) == 1 and not {*names} & seen
        seen |= {*names}


def test_who_died_after_answering_does_not_answer_for_its_successor() -> None:
    store = dist.HashStore()

    def die(rank: int) -> None:
        with pytest.raises(RuntimeError, match="did not come"):
            agreed_name(store, rank, 3, 0.3)

    first = threading.Thread(target=die, args=(0,))
    first.start()
    die(1)
    first.join()
    assert len(set(meet(store, 3, [1, 2, 0]))) == 1


def test_waiting_ends() -> None:
    with pytest.raises(RuntimeError, match="did not come"):
        agreed_name(dist.HashStore(), 1, 2, 0.05)
