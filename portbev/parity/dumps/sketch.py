"""A tensor in a hundred numbers, from which equality and distance of two tensors are told without either.

* ``hash``: 64 bits of the content, see :mod:`portbev.parity.dumps.content`.
* ``projections``: 16 sums of elements with random signs, in float64, see :mod:`portbev.parity.dumps.figures`. For two
  tensors of one shape the sum of ``(p - q)**2`` over the projections estimates the squared distance.
* count, mean, mean square, least, greatest, numbers of NaN and infinities. What is not finite counts as zero in sums.

Works through the tensor in pieces of two megabytes, which stay in the cores' caches: each is hashed and summed up at
once. No copy is made of the whole unless it is not contiguous.
"""

from __future__ import annotations

import math
from base64 import b64decode, b64encode
from dataclasses import dataclass
from struct import Struct
from typing import Any, Literal

import torch
from torch import Tensor

from portbev.parity.dumps.bits import significant_bits
from portbev.parity.dumps.content import BYTES, Content, finish_hash, small_sums
from portbev.parity.dumps.figures import Figures, small_figures
from portbev.parity.dumps.room import Room
from portbev.parity.dumps.signs import PROJECTIONS, SMALL

Level = Literal["hashes", "sketch"]
_PACKED = Struct(f"<{PROJECTIONS}d")
_AT_ONCE = BYTES


@dataclass(frozen=True)
class Sketch:
    """What is kept of a tensor. At the level ``hashes`` the figures are None and ``projections`` is empty.

    Attributes:
        shape, dtype: as torch names them: ``[2, 3]``, ``float32``.
        hash: of the content, 16 hexadecimal digits.
        nan, inf: how many elements are not finite.
        bits: significant bits of its numbers, where they are float32 or float64 on the host (:mod:`.bits`).
        mean, mean_square: over all elements, what is not finite as zero; ``low`` and ``high`` over the finite ones.
    """

    shape: tuple[int, ...]
    dtype: str
    hash: str
    nan: int = 0
    inf: int = 0
    mean: float | None = None
    mean_square: float | None = None
    low: float | None = None
    high: float | None = None
    projections: tuple[float, ...] = ()
    bits: int | None = None

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def norm(self) -> float:
        """The Euclidean norm of the finite elements."""
        return math.sqrt((self.mean_square or 0.0) * self.count)

    @property
    def peak(self) -> float:
        """The greatest magnitude of a finite element."""
        return max(abs(self.low or 0.0), abs(self.high or 0.0))

    @property
    def is_floating(self) -> bool:
        return self.dtype.startswith(("float", "bfloat", "complex"))

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is not known is left out. The projections are base64 of 16 little-endian doubles."""
        values: dict[str, Any] = {"shape": self.shape, "dtype": self.dtype, "hash": self.hash}
        for name in ("nan", "inf"):
            if getattr(self, name):
                values[name] = getattr(self, name)
        for name in ("bits", "mean", "mean_square", "low", "high"):
            if getattr(self, name) is not None:
                values[name] = getattr(self, name)
        if self.projections:
            values["projections"] = b64encode(_PACKED.pack(*self.projections)).decode()
        return values

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Sketch:
        """What :meth:`as_json` gave.

        Raises:
            TypeError, ValueError, KeyError, struct.error: another thing.
        """
        values = dict(values)
        shape = tuple(int(size) for size in values.pop("shape"))
        packed = values.pop("projections", None)
        projections = () if packed is None else _PACKED.unpack(b64decode(packed, validate=True))
        return cls(shape=shape, projections=projections, **values)


def distance(a: Sketch, b: Sketch) -> float | None:
    """The Euclidean distance of the tensors, estimated to about a fifth; 0.0 for equal bits, None if it cannot be told.

    It cannot where shapes differ or one has no projections; infinity where one has NaN or infinities that the other
    has not.
    """
    if a.shape != b.shape:
        return None
    if a.hash == b.hash and a.dtype == b.dtype:
        return 0.0
    if not (a.projections and b.projections):
        return None
    if (a.nan, a.inf) != (b.nan, b.inf):
        return math.inf
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a.projections, b.projections, strict=True)))


@torch.no_grad()
def sketch(tensor: Tensor, level: Level = "sketch") -> Sketch:
    """The sketch of ``tensor``, of any shape and of any dtype with a fixed size; the host waits for its device."""
    return Pending(tensor, level, Room()).result()


class Pending:
    """A sketch whose figures are still on the tensor's device: nobody has waited for it yet."""

    @torch.no_grad()
    def __init__(self, tensor: Tensor, level: Level, room: Room) -> None:
        with torch._C.DisableTorchFunction():  # nobody need hear of these calls
            self._begin(tensor.detach(), level, room)

    def _begin(self, tensor: Tensor, level: Level, room: Room) -> None:
        self.shape, self.dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        self._bytes = tensor.numel() * tensor.element_size()
        self._sums: Any = None
        self._figures: Any = None
        self._significant: int | None = None
        if tensor.is_complex() or tensor.is_neg():
            tensor = tensor.resolve_conj().resolve_neg()
        flat = tensor.contiguous().view(-1)
        if not self._bytes:
            return
        if flat.numel() == 1:
            flat = flat.as_strided((1,), (1,))  # along an axis of one element any stride will do; bytes need 1
        if level == "sketch":
            self._significant = significant_bits(flat)
        if flat.device.type == "cpu" and flat.numel() <= SMALL:
            self._sums = small_sums(flat)
            self._figures = small_figures(flat) if level == "sketch" else None
            return
        content = Content(flat, room)
        figures = Figures(flat, room) if level == "sketch" else None
        for begin in range(0, self._bytes, _AT_ONCE):
            end = min(begin + _AT_ONCE, self._bytes)
            content.take(begin, end)
            if figures is not None:
                figures.take(begin // flat.element_size(), end // flat.element_size())
        self._sums = content.sums()
        self._figures = None if figures is None else figures.result()

    def result(self) -> Sketch:
        """The sketch; waits."""
        sums = [] if self._sums is None else self._sums.tolist()
        hashed = finish_hash(sums, self._bytes, self.dtype)
        if self._figures is None:
            return Sketch(self.shape, self.dtype, hashed)
        nan, inf, total, squares, low, high, *projections = self._figures.tolist()
        count = math.prod(self.shape)
        return Sketch(
            self.shape,
            self.dtype,
            hashed,
            nan=int(nan),
            inf=int(inf),
            mean=total / count,
            mean_square=squares / count,
            low=low,
            high=high,
            projections=tuple(projections),
            bits=self._significant,
        )
