"""Meeting the other processes in the store of a launcher's agent, which outlives them.

When torchrun starts its processes again they find the old store, with the addresses that the dead ones left there.
torch 2.13 would take them for those of the living, and wait for ever. So the processes first agree on a name of their
own for this start, and keep everything under it.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Callable
from datetime import timedelta

import torch.distributed as dist

_BASE = "portbev/meeting"


def store_of_agent(rank: int, size: int, timeout: timedelta) -> dist.Store:
    """The agent's store, without what earlier processes left in it.

    Raises:
        RuntimeError: the store or the other processes do not answer in time.
        ValueError, KeyError: the environment does not say where it is.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = dist.TCPStore(address, port, is_master=False, timeout=timeout)
    return dist.PrefixStore(f"{_BASE}/{agreed_name(store, rank, size, timeout.total_seconds())}", store)


def agreed_name(store: dist.Store, rank: int, size: int, seconds: float) -> str:
    """A name that all ``size`` processes of this start have, and no earlier ones had.

    Process 0 offers a name. The others answer to it with a word of their own. Process 0 lists the words, and who finds
    its own word in the list knows that the name is of this start: in an old list there is another one.

    Raises:
        RuntimeError: some do not answer within ``seconds``.
    """
    word, deadline = uuid.uuid4().hex, time.monotonic() + seconds
    if rank == 0:
        store.set(f"{_BASE}/name", word)
        words = [_get(store, f"{_BASE}/{word}/{other}", deadline) for other in range(1, size)]
        store.set(f"{_BASE}/{word}/words", json.dumps(words))
        return word
    while True:
        name = _get(store, f"{_BASE}/name", deadline)
        store.set(f"{_BASE}/{name}/{rank}", word)
        if _is_of_this_start(store, name, word, deadline):
            return name


def _is_of_this_start(store: dist.Store, name: str, word: str, deadline: float) -> bool:
    """Whether process 0 lists ``word`` under ``name``; False when it offers another name."""
    key = f"{_BASE}/{name}/words"
    listed = False

    def decided() -> bool:
        nonlocal listed
        listed = store.check([key]) and word in json.loads(store.get(key))
        return listed or _get(store, f"{_BASE}/name", deadline) != name

    _until(decided, deadline)
    return listed


def _get(store: dist.Store, key: str, deadline: float) -> str:
    _until(lambda: store.check([key]), deadline)
    return store.get(key).decode()


def _until(met: Callable[[], bool], deadline: float) -> None:
    """Wait until ``met``; raises a RuntimeError when it is too late."""
    while not met():
        if time.monotonic() > deadline:
            raise RuntimeError("the other processes did not come: timed out waiting for them")
        time.sleep(0.01)
