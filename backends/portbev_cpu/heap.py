"""How the host's C library keeps freed memory."""

from __future__ import annotations

import ctypes
import os

_MALLOPT_MMAP_MAX, _MALLOPT_TRIM_THRESHOLD = -4, -1  # parameters of mallopt(3)
_USERS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> str:
    """Let this process use freed memory again instead of giving it back to the system.

    glibc maps every tensor above 32 MiB anew and unmaps it when it is freed, so that the system clears its pages at
    every step: an eighth of a training step of BEVDepth at 256x704. It costs peak memory: there 4.0 in place of
    3.5 GiB, but nearly twice as much where a step recomputes its activations in pieces of many sizes (EchoFusion). It
    lasts until the process ends. A user's own setting in the environment (``MALLOC_..._``, ``GLIBC_TUNABLES``) is
    left as it is.

    Returns:
        What holds now: ``kept``, or what holds instead.
    """
    found = [name for name in _USERS if name in os.environ]
    if found:
        return f"as {found[0]} says"
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return "as it was: this C library has no mallopt"
    done = mallopt(_MALLOPT_MMAP_MAX, 0) and mallopt(_MALLOPT_TRIM_THRESHOLD, -1)
    return "kept" if done else "as it was: mallopt refused"
