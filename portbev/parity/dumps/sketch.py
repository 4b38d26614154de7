"""A tensor in a hundred numbers, from which equality and distance of two tensors are told without either.

* ``hash``: 64 bits of the content, see :mod:`portbev.parity.dumps.content`.
* ``projections``: 16 sums of elements with random signs, in float64, see :mod:`portbev.parity.dumps.figures`. For two
  tensors of one shape the sum of ``(p - q)**2`` over the projections estimates the squared distance.
* count, mean, mean square, least, greatest, numbers of NaN and infinities. What is not finite counts as zero in sums.

Works through the tensor in pieces that stay in the cores' caches, and makes no copy of the whole unless it is not
contiguous (:mod:`portbev.parity.dumps.means`).
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
from portbev.parity.dumps.content import finish_hash
from portbev.parity.dumps.means import Means
from portbev.parity.dumps.signs import PROJECTIONS

Level = Literal["hashes", "sketch"]
_PACKED = Struct(f"<{PROJECTIONS}d")


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


def sketch(tensor: Tensor, level: Level = "sketch") -> Sketch:
    """The sketch of ``tensor``, of any shape and of any dtype with a fixed size; the host waits for its device."""
    with torch.no_grad(), torch._C.DisableTorchFunction():
        return Pending(tensor, level, Means()).result()


class Pending:
    """A sketch whose figures are still on the tensor's device: nobody has waited for it yet.

    It is made without gradients, and where nobody hears of the functions of torch that are called.
    """

    def __init__(self, tensor: Tensor, level: Level, means: Means) -> None:
        tensor = tensor.detach()
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
        self._sums, self._figures = means.measure(flat, figures=level == "sketch")

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
