"""NaN and Infinity in JSON text, which Python writes although JSON has no such words. Imports nothing of portbev.

In a submission a NaN velocity is valid: the velocity is unknown. A strict parser refuses the whole file for it, so
these words are overwritten by marks of the same length, in a private map of the file.
"""

from __future__ import annotations

import mmap
from typing import Any, Final

_REACH = 1 << 10
MARK: Final = "\x7f"  # may stand in a JSON string as it is, and nobody writes it
CONSTANTS: Final = {MARK: float("nan"), 6 * MARK: float("inf"), 7 * MARK: float("-inf")}


def mark_constants(content: mmap.mmap) -> int:
    """Overwrite NaN and the infinities where a value stands with strings of the same length; how many there were.

    The map is private: the file stays as it is.
    """
    done = 0
    for word in (b"NaN", b"-Infinity", b"Infinity"):
        mark = b'"' + MARK.encode() * (len(word) - 2) + b'"'
        at = content.find(word)
        while 0 < at < len(content) - len(word):  # a value is never the first or the last thing in the file
            end = at + len(word)
            if content[at - 1] in b"[:, \t\r\n" and content[end] in b"],} \t\r\n" and _after_key(content, at):
                content[at:end] = mark
                done += 1
            at = content.find(word, end)
    return done


def _after_key(content: mmap.mmap, at: int) -> bool:
    """Whether the last quote before ``at`` ends a key or a mark: then this is no part of a text."""
    quote = content.rfind(b'"', max(0, at - _REACH), at)
    return quote > 0 and (content[quote - 1] == ord(MARK) or content[quote + 1 : at].lstrip()[:1] == b":")


def unmarked(value: Any) -> float:
    """The number that a mark stands for, or the number itself."""
    return CONSTANTS[value] if isinstance(value, str) else value


def with_constants(value: Any) -> Any:
    """The same nested value, with NaN and the infinities for their marks, and lists for tuples."""
    if isinstance(value, dict):
        return {key: with_constants(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [with_constants(item) for item in value]
    return CONSTANTS.get(value, value) if isinstance(value, str) else value
