"""Files that come with a request: in its JSON as base64, or beside it as parts of a multipart body.

Nothing of them is executed: pictures are JPEG or PNG, arrays are ``.npy`` files, whose pickled form is refused.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from portbev.serve.limits import MAX_PIXELS
from portbev.serve.refusal import unusable

_FORMATS = ("JPEG", "PNG")
_HEADERS = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}
_NPY = "Send what numpy.save writes of an array of numbers"


class Parts:
    """The parts of a multipart body by name, and which of them the request has named."""

    def __init__(self, parts: Mapping[str, bytes] | None = None) -> None:
        self._parts = dict(parts or {})
        self._named: set[str] = set()

    def file(self, given: Any, where: str) -> bytes:
        """The bytes that a value of the request means: base64, or ``{"part": NAME}``.

        Args:
            where: path of the value, for errors.

        Raises:
            RefusalError: neither, no such part, text that is no base64, or nothing at all.
        """
        data = self._base64(given, where) if isinstance(given, str) else self._part(given, where)
        if not data:
            raise unusable("is empty", where=where, cure="Send the file's bytes")
        return data

    def _part(self, given: Any, where: str) -> bytes:
        name = given.get("part") if isinstance(given, dict) and set(given) == {"part"} else None
        if not isinstance(name, str):
            cure = 'Give its bytes as base64 text, or {"part": NAME} of a multipart body'
            raise unusable("is no file", where=where, cure=cure)
        if name not in self._parts:
            there = f"Parts: {', '.join(self._parts)}" if self._parts else "Only a multipart body has parts"
            raise unusable(f"the body has no part {name[:80]!r}", where=where, cure=there)
        self._named.add(name)
        return self._parts[name]

    def _base64(self, text: str, where: str) -> bytes:
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError) as error:
            cure = "Give the file's bytes as base64, without line breaks and without a data: prefix"
            raise unusable("is not base64", where=where, cure=cure) from error

    def check_all_named(self) -> None:
        """Raise for a part that the request does not name: it would be ignored."""
        extra = [name for name in self._parts if name not in self._named]
        if extra:
            cure = 'Name it where it belongs: {"part": NAME}, or leave it out'
            raise unusable("nothing in the request names this part", where=f"part {extra[0][:80]!r}", cure=cure)


def picture(data: bytes, where: str, size: tuple[int | None, int | None] = (None, None)) -> NDArray[np.uint8]:
    """The pixels (H, W, 3) of a JPEG or PNG: red, green, blue of 8 bits, as they are stored (EXIF does not turn them).

    Args:
        size: (height, width) that it must have; None: any.

    Raises:
        RefusalError: another format, another size, more than 8 bits, or damaged.
    """
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Exception as error:  # whatever a reader raises over a file is the file's fault
        raise unusable("is no JPEG or PNG that can be read", where=where, cure="Send the file's bytes") from error
    width, height = opened.size
    if size[0] not in (None, height) or size[1] not in (None, width):
        what = f"is {width} x {height} pixels, the model takes {size[1] or 'any'} x {size[0] or 'any'}"
        raise unusable(what, where=where, cure="Send the camera's whole picture, neither cropped nor scaled")
    if width * height > MAX_PIXELS:
        raise unusable(f"is {width} x {height} pixels, more than {MAX_PIXELS:,}", where=where)
    if opened.mode.startswith(("I", "F")):
        raise unusable("has more than 8 bits a pixel", where=where, cure="Send pictures of 8 bits")
    try:
        return np.asarray(opened.convert("RGB"))
    except Exception as error:
        cure = "Send the file's bytes, all of them"
        raise unusable("the picture is damaged or cut short", where=where, cure=cure) from error


def array(data: bytes, where: str) -> NDArray[Any]:
    """The array of an ``.npy`` file.

    Raises:
        RefusalError: another format, objects (which are pickled), or bytes that are missing or left over.
    """
    stream = io.BytesIO(data)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, dtype = _HEADERS[version[0]](stream)
    except Exception as error:  # tokenize's errors are among them
        raise unusable("is no .npy file that can be read", where=where, cure=_NPY) from error
    if dtype.hasobject:
        raise unusable("holds objects, which are pickled: they are never loaded", where=where, cure=_NPY)
    if dtype.kind not in "biufc":
        raise unusable(f"holds {dtype}, not numbers", where=where, cure=_NPY)
    count = 1
    for side in shape:
        count *= int(side)
    if min(shape, default=1) < 0 or len(data) - stream.tell() != count * dtype.itemsize:
        what = f"has {len(data) - stream.tell()} bytes of values, its shape {shape} takes {count * dtype.itemsize}"
        raise unusable(what, where=where, cure=_NPY)
    values = np.frombuffer(data[stream.tell() :], dtype).copy()  # of bytes that may be written
    return values.reshape(shape, order="F" if fortran else "C")
