"""Which record a tensor's content is of: by the tensor itself, or by the memory that it shares with others."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor


class Identities:
    """From tensors to the places of their records.

    It keeps no tensor alive, and no storage: torch's own weak references to storages keep their heads, which lie among
    the tensors in the C library's heap. Thousands of those cut it into pieces that no large tensor fits into, and a
    step took a million new pages more.
    """

    def __init__(self) -> None:
        self._objects: dict[int, tuple[Any, int, int]] = {}  # id -> reference, version, place
        self._memory: dict[int, tuple[Any, int]] = {}  # storage -> reference, last place

    def put(self, tensor: Tensor, n: int, *, owns: bool = True, whole: bool = True) -> None:
        """``tensor`` has the content of record ``n``.

        Args:
            owns: it was computed or written just now, and is no mere view: what shares its memory follows from ``n``.
            whole: record ``n`` is of all of it.
        """
        if whole:
            self._objects[id(tensor)] = (weakref.ref(tensor), tensor._version, n)
        else:
            self._objects.pop(id(tensor), None)
        if owns:
            storage = tensor.untyped_storage()
            self._memory[storage._cdata] = (weakref.ref(storage), n)

    def exact(self, tensor: Tensor) -> int | None:
        """The record whose content is that of ``tensor`` as it is now; None if there is none."""
        found = self._objects.get(id(tensor))
        if found is None or found[0]() is not tensor or found[1] != tensor._version:
            return None
        return found[2]

    def of(self, tensor: Tensor) -> int | None:
        """The record that ``tensor`` follows from, be it a view of its memory; None if it is unknown."""
        n = self.exact(tensor)
        if n is not None:
            return n
        storage = tensor.untyped_storage()
        found = self._memory.get(storage._cdata)
        return None if found is None or found[0]() is not storage else found[1]


def shares_memory(a: Tensor, b: Tensor) -> bool:
    """Whether one may be a view of the other."""
    return bool(a.untyped_storage()._cdata == b.untyped_storage()._cdata)
