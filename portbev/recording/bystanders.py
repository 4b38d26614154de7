"""Spares a recorded step the garbage collector's visits to objects that were there before it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def old_objects_left_alone() -> Iterator[None]:
    """Inside, the collector looks at new objects alone; afterwards at all, as before.

    Records are objects by the ten thousand, so that every other step would have a full collection: a fifth of a second,
    nearly all of it for the modules and functions of torch. What somebody else had frozen is looked at too, afterwards:
    Python cannot thaw a part (3.12 itself begins with some).
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
