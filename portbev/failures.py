"""Errors of PyTorch and of the machine that a person can do something about, as one line."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import distributed

from portbev.errors import BackendError, DataError, PortbevError

_HOST = ("DefaultCPUAllocator", "Cannot allocate memory", "cannot allocate memory", "Unable to allocate")
_SHARED = ("shared memory", "bus error", "Bus error", "unable to open shared memory", "unable to mmap")
_PEER = ("Connection closed by peer", "Connection reset by peer", "Broken pipe", "Read timeout", "Timed out waiting")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


class LostPeerError(BackendError):
    """Another process of the run has ended; what ended it, it says itself if it still could."""


def explained(error: BaseException) -> PortbevError | None:
    """The line for ``error``; None for one that is not of the machine (then it is a mistake in the program)."""
    if isinstance(error, PortbevError) or not isinstance(error, (RuntimeError, MemoryError, OSError)):
        return None
    text = " ".join(str(error).split())
    if "DataLoader worker" in text:
        return _worker(text)
    if isinstance(error, MemoryError) or any(part in text for part in _HOST) or "out of memory" in text.lower():
        return _memory(error, text)
    if _is_distributed() and (isinstance(error, distributed.DistError) or any(part in text for part in _PEER)):
        return _peer(text)
    if isinstance(error, OSError):
        return _full(error) if error.errno in _FULL else None
    return _device(text) if isinstance(error, torch.AcceleratorError) else None


@contextmanager
def in_one_line() -> Iterator[None]:
    """Errors of the machine inside the block become a PortbevError.

    Raises:
        PortbevError: in the place of such an error, which is its cause.
    """
    try:
        yield
    except Exception as error:
        said = explained(error)
        if said is None:
            raise
        raise said from error


def _memory(error: BaseException, text: str) -> PortbevError:
    if isinstance(error, MemoryError) or any(part in text for part in _HOST):
        return BackendError(
            f"the machine has too little memory: {_first(text) or type(error).__name__}",
            cure="Lower data.workers or train.batch_size, or end what else runs",
        )
    return BackendError(
        f"the device has too little memory: {_first(text)}",
        cure="Lower train.batch_size (train.accumulate keeps the samples of a step), set compute.amp=bf16 or the "
        "model's checkpointing where it has one, or end what else uses the device",
    )


def _full(error: OSError) -> PortbevError:
    cure = "Make room or choose another place with --out; a run goes on with --resume"
    return PortbevError(f"cannot write: {error.strerror}", where=str(error.filename or ""), cure=cure)


def _device(text: str) -> BackendError:
    cure = "Continue with --resume; if it fails again at the same step, try --kernel all=reference, and --debug"
    return BackendError(f"the device failed: {_first(text)}", cure=cure)


def _peer(text: str) -> LostPeerError:
    return LostPeerError(
        f"another process of this run ended or does not answer ({_first(text)})",
        where=f"process {distributed.get_rank()}",
        cure="If it has no message of its own it was killed, most likely for want of memory: lower data.workers or "
        f"train.batch_size. {_how_to_go_on()}",
    )


def _how_to_go_on() -> str:
    done, most = (os.environ.get(f"TORCHELASTIC_{name}", "0") for name in ("RESTART_COUNT", "MAX_RESTARTS"))
    restarts = done.isdecimal() and most.isdecimal() and int(done) < int(most)
    return (
        f"torchrun starts all again ({int(most) - int(done)} restarts left)" if restarts else "Continue with --resume"
    )


def _worker(text: str) -> DataError:
    shared = any(part in text for part in _SHARED)
    what = "too little shared memory" if shared else "killed, most likely for want of memory"
    cure = "Lower data.workers (0: no processes of their own) or the batch size, or give the machine or container more"
    return DataError(f"a process that loads data was {what} ({_first(text)})", cure=f"{cure} memory; then --resume")


def _is_distributed() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _first(text: str) -> str:
    """The first sentence of a message, without the program's own place in it."""
    text = text.rpartition("] ")[2] if text.startswith("[") and "] " in text else text
    return text.split(". ")[0].rstrip(".")[:160]
