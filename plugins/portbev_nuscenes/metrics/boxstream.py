"""The boxes of a submission file in order, a block of samples at a time.

The usual file, with "meta" first or last, is read in blocks; each is cut after a sample's list of boxes and decoded as
an object of its own. A cut at a wrong place (inside a string, say) leaves text that does not decode. Any file that is
unusual or faulty is left to the slower reader in ``submission``, which accepts any JSON and explains faults.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from portbev_nuscenes.metrics.constants import MARK

BLOCK = 8 << 20
"""Bytes read at a time."""

Vector = tuple[float, float, float]


class Box(msgspec.Struct, gc=False):
    """A box of the submission format."""

    sample_token: str
    translation: Vector
    size: Vector
    rotation: tuple[float, float, float, float]
    velocity: tuple[float, float]
    detection_name: str
    detection_score: float
    attribute_name: str
    num_pts: float = -1


class MarkedBox(Box, gc=False):
    """A box of a text in which NaN was replaced by a mark (see ``constants``)."""

    velocity: tuple[float | str, float | str]  # type: ignore[assignment]


Decoded = TypeVar("Decoded")
Samples = Mapping[str, Sequence[Box]]


class UnusualError(Exception):
    """The file must be read by the slower reader."""


_HEAD = re.compile(rb'\s*\{\s*(?:"meta"\s*:\s*(\{[^{}]*\})\s*,\s*)?"results"\s*:\s*\{')
_BORDER = re.compile(rb"\}\s*\]\s*,\s*\"")
_TAIL = 1 << 19


class _End(msgspec.Struct):
    results: dict[str, list[Box]]
    meta: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class _MarkedEnd(msgspec.Struct):
    results: dict[str, list[MarkedBox]]
    meta: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


_PART = tuple(msgspec.json.Decoder(dict[str, list[box]]) for box in (Box, MarkedBox))  # type: ignore[valid-type]
_END = tuple(msgspec.json.Decoder(end) for end in (_End, _MarkedEnd))


class BoxStream:
    """Iterates over a file and yields mappings sample token -> boxes; ``meta`` is known after the last one.

    Raises:
        UnusualError: before or in the middle of the iteration.
        OSError: the file cannot be read.
    """

    def __init__(self, path: Path, block: int = BLOCK) -> None:
        self.path, self.block = path, block
        self.meta: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET

    def __iter__(self) -> Iterator[Samples]:
        with open(self.path, "rb") as file:
            pending = file.read(self.block)
            head = _HEAD.match(pending)
            if head is None:
                raise UnusualError
            if head[1] is not None:
                self.meta = _decoded(lambda: msgspec.json.decode(head[1], type=dict[str, Any]))
            pending = pending[head.end() :]
            while piece := file.read(self.block):
                pending += piece
                cut = _last_border(pending)
                if cut >= 0:
                    yield _decode(_PART, b"{" + pending[:cut] + b"}")
                    pending = pending[cut:].lstrip()[1:]  # without the comma
        end = _decode(_END, b'{"results":{' + pending)
        if end.meta is not msgspec.UNSET:
            self.meta = end.meta
        yield end.results


def _last_border(text: bytes) -> int:
    """Offset just after the ``]`` of the last ``} ] , "``, or -1."""
    for start in (max(0, len(text) - _TAIL), 0):
        borders = list(_BORDER.finditer(text, start))
        if borders:
            return text.index(b"]", borders[-1].start()) + 1
    return -1


def _decode(decoders: tuple[msgspec.json.Decoder[Any], ...], text: bytes) -> Any:
    """Decode with the first decoder, or, if the text has NaN, replace it by marks and decode with the second."""
    if b"NaN" in text:
        # if NaN is inside a string, the mark's quotes end the string and the text does not decode
        return _decoded(lambda: decoders[1].decode(text.replace(b"NaN", b'"' + MARK.encode() + b'"')))
    return _decoded(lambda: decoders[0].decode(text))


def _decoded(decode: Callable[[], Decoded]) -> Decoded:
    try:
        return decode()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        raise UnusualError from None
