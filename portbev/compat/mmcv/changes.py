"""What was changed in this process's memory, to be put back."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import Any

_ABSENT = object()


class Changes:
    """Changes in the order they were made."""

    def __init__(self) -> None:
        self._undo: list[Callable[[], Any]] = []

    def set_item(self, mapping: MutableMapping[Any, Any], key: Any, value: Any) -> None:
        """``mapping[key] = value``, noted unless it is so already."""
        before = mapping.get(key, _ABSENT)
        if before is value:
            return
        mapping[key] = value
        self._undo.append(lambda: _put_back(mapping, key, value, before))

    def set_attribute(self, owner: Any, name: str, value: Any) -> None:
        """``owner.name = value`` of a module."""
        self.set_item(vars(owner), name, value)

    def undo(self) -> None:
        """Put everything back, the last first. What someone else has put there since stays."""
        while self._undo:
            self._undo.pop()()


def _put_back(mapping: MutableMapping[Any, Any], key: Any, value: Any, before: Any) -> None:
    if mapping.get(key) is not value:
        return
    if before is _ABSENT:
        mapping.pop(key, None)
    else:
        mapping[key] = before
