"""NaN and Infinity in JSON text, which Python writes although JSON has no such constants.

In a submission a NaN velocity is valid and means an unknown velocity, but a strict parser rejects the whole file. So
these constants are overwritten by strings of the same length (marks), in a private memory map of the file.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

_REACH = 1 << 10
MARK: Final = "\x7f"  # allowed in a JSON string without an escape, and not used in practice
CONSTANTS: Final = {MARK: float("nan"), 6 * MARK: float("inf"), 7 * MARK: float("-inf")}


def mark_constants(content: mmap.mmap) -> int:
    """Overwrite each NaN and infinity that is a JSON value by a string of the same length; return their number.

    The map must be private, so that the file itself does not change.
    """
    count = 0
    for word in (b"NaN", b"-Infinity", b"Infinity"):
        mark = b'"' + MARK.encode() * (len(word) - 2) + b'"'
        position = content.find(word)
        while 0 < position < len(content) - len(word):  # a value is never the first or the last thing in the file
            end = position + len(word)
            if (
                content[position - 1] in b"[:, \t\r\n"
                and content[end] in b"],} \t\r\n"
                and _after_key(content, position)
            ):
                content[position:end] = mark
                count += 1
            position = content.find(word, end)
    return count


def _after_key(content: mmap.mmap, position: int) -> bool:
    """Whether the last quote before ``position`` ends a key or a mark; then ``position`` is not inside a string."""
    quote = content.rfind(b'"', max(0, position - _REACH), position)
    return quote > 0 and (content[quote - 1] == ord(MARK) or content[quote + 1 : position].lstrip()[:1] == b":")


def unmarked(value: Any) -> float:
    """The number that a mark stands for, or the number itself."""
    return CONSTANTS[value] if isinstance(value, str) else value


def with_constants(value: Any) -> Any:
    """A copy of a nested value with NaN and the infinities in place of their marks, and lists in place of tuples."""
    if isinstance(value, dict):
        return {key: with_constants(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_constants(item) for item in value]
    return CONSTANTS.get(value, value) if isinstance(value, str) else value
