"""How the host's C library keeps freed memory."""

from __future__ import annotations

import ctypes
import os

_MMAP_MAX, _MMAP_THRESHOLD, _TRIM_THRESHOLD = -4, -3, -1  # parameters of mallopt(3)
_LARGEST_THRESHOLD = 32 << 20
"""Up to which glibc raises its threshold by itself."""
_USERS = ("MALLOC_MMAP_MAX_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory(*, everything: bool) -> str:
    """Let this process use freed memory again instead of giving it back to the system.

    glibc gives the end of its heap back as soon as 64 MiB of it are free, and a tensor above 32 MiB that finds no room
    there is mapped alone and unmapped when it is freed. The system then clears its pages at every step: two fifths of
    a training step of BEVFormer-tiny. A heap that is never cut short grows in a few steps to where nearly all tensors
    find room; it costs a few per cent of peak memory. With ``everything`` no tensor is mapped alone: that is as fast
    from the second step on, and costs nearly twice the memory where a step recomputes its activations in pieces of
    many sizes (EchoFusion).

    It lasts until the process ends. A user's own setting in the environment (``MALLOC_..._``, ``GLIBC_TUNABLES``) is
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
    mapped = (_MMAP_MAX, 0) if everything else (_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
    done = mallopt(*mapped) and mallopt(_TRIM_THRESHOLD, -1)
    return "kept" if done else "as it was: mallopt refused"
