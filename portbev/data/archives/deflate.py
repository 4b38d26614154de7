"""Reads a DEFLATE stream (RFC 1951) from its middle, given what precedes it.

A stream can be entered where a block begins, if the 32 KiB before are known, which the block may repeat from. A block
may begin within a byte. The bits before it in that byte are then filled with the end of blocks that say nothing, so
that the rest of the stream keeps its place in the bytes: stored blocks depend on it.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from functools import cache
from itertools import count
from typing import NamedTuple

WINDOW = 1 << 15
PIECE = 1 << 16
"""Compressed bytes that are read at a time."""


class Point(NamedTuple):
    """A place where a compressed stream can be entered.

    Attributes:
        offset: of the place in what was compressed.
        packed: of the place in the compressed file, in whole bytes.
        bits: bits of the byte before ``packed`` that belong to the place.
        window: what precedes it, 32 KiB; None at the start of a stream.
    """

    offset: int
    packed: int
    bits: int
    window: bytes | None


def opening(point: Point, before: bytes) -> bytes:
    """What to feed a decompressor before the byte at ``point.packed``; ``before`` is the one byte in front of it."""
    if not point.bits:
        return b""
    filled = _nothing(8 - point.bits)
    own = before[0] >> (8 - point.bits) << (8 - point.bits)
    return filled[:-1] + bytes([filled[-1] | own])


def inflate(file: int, point: Point, skip: int, size: int) -> bytes:
    """Up to ``size`` bytes that come ``skip`` bytes after ``point``; fewer where the stream ends before.

    Args:
        file: descriptor of the compressed file; its position is neither used nor changed.

    Raises:
        zlib.error: the stream is damaged.
    """
    stream = zlib.decompressobj(-zlib.MAX_WBITS, zdict=point.window) if point.window else zlib.decompressobj(-15)
    parts, at = [], 0
    for piece in _pieces(file, point):
        data = stream.decompress(piece)
        if at + len(data) > skip:
            parts.append(data[skip - at :] if at < skip else data)
        at += len(data)
        if at >= skip + size or stream.eof:
            break
    return b"".join(parts)[:size]


def _pieces(file: int, point: Point) -> Iterator[bytes]:
    first = opening(point, os.pread(file, 1, point.packed - 1)) if point.bits else b""
    if first:
        yield first
    for number in count():
        piece = os.pread(file, PIECE, point.packed + number * PIECE)
        if not piece:
            return
        yield piece


@cache
def _nothing(bits: int) -> bytes:
    """Blocks that say nothing, whose length leaves ``bits`` (1 to 7) bits in the last byte."""
    blocks = list(_ODD) if bits % 2 else []
    while len(blocks) % 8 != bits:
        blocks += _EVEN
    blocks += [0] * (8 - bits)
    return bytes(sum(bit << place for place, bit in enumerate(blocks[at : at + 8])) for at in range(0, len(blocks), 8))


def _number(value: int, bits: int) -> list[int]:
    return [value >> place & 1 for place in range(bits)]


_EVEN = [0, 1, 0] + [0] * 7  # not the last block, fixed codes; the code for its end
_ORDER = (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1)
_ODD = [
    *(0, 0, 1),  # not the last block, codes of its own
    *_number(257 - 257, 5),  # literals and the end
    *_number(1 - 1, 5),  # one distance
    *_number(len(_ORDER) - 4, 4),
    *(bit for code in _ORDER for bit in _number({0: 1, 1: 2, 18: 2}.get(code, 0), 3)),
    *(1, 1, *_number(138 - 11, 7)),  # 138 literals that do not come
    *(1, 1, *_number(118 - 11, 7)),  # 118 more
    *(1, 0),  # the end, of one bit
    0,  # no distance
    0,  # the end
]
