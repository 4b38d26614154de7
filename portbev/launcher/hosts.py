"""Names of machines as SLURM writes them: ``node[001-003,007],gpu[1-2]-ib``."""

from __future__ import annotations

import re
from collections.abc import Iterator

from portbev.errors import BackendError

_SPLIT = re.compile(r",(?![^\[\]]*\])")
_PART = re.compile(r"\[([^\[\]]*)\]")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def hosts(text: str) -> Iterator[str]:
    """The machines of a node list, in its order.

    Raises:
        BackendError: it is no node list.
    """
    if not text.strip() or text.count("[") != text.count("]"):
        raise _unread(text)
    for item in _SPLIT.split(text.strip()):
        yield from _expanded(item.strip(), text)


def per_node(text: str) -> Iterator[int]:
    """The counts of ``4(x2),3``, machine by machine.

    Raises:
        BackendError: it is no list of counts.
    """
    for item in text.strip().split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", item.strip())
        if found is None:
            raise _unread(text)
        yield from [int(found[1])] * int(found[2] or 1)


def _expanded(item: str, text: str) -> Iterator[str]:
    found = _PART.search(item)
    if found is None:
        if not re.fullmatch(r"[\w.:-]+", item):
            raise _unread(text)
        yield item
        return
    before, after = item[: found.start()], item[found.end() :]
    for piece in found[1].split(","):
        limits = _RANGE.fullmatch(piece.strip())
        if limits is None or (limits[2] is not None and int(limits[2]) < int(limits[1])):
            raise _unread(text)
        first, last = limits[1], limits[2] or limits[1]
        for number in range(int(first), int(last) + 1):
            yield from _expanded(f"{before}{number:0{len(first)}d}{after}", text)


def _unread(text: str) -> BackendError:
    cure = "Set MASTER_ADDR to the machine of task 0; it is then not needed"
    return BackendError(f"cannot read {text[:60]!r} as a list of machines", where="environment", cure=cure)
