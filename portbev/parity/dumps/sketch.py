"""A tensor in a hundred numbers, from which equality and distance of two tensors are told without either.

* ``hash``: 64 bits of the content in logical order: equal for equal bits, whatever the memory format and the device.
  It is the sum of ``(hi + w) * m`` over the 64-bit words ``w`` with upper half ``hi``, modulo 2**64, with odd random
  multipliers ``m``: a multilinear hash (Dietzfelbinger et al. 1997), a sum of integers, so that no order changes it.
* ``projections``: 16 sums of the elements with random signs, in float64. For two tensors of one shape the mean of
  ``(p - q)**2`` over the projections is an unbiased estimate of the squared distance (Achlioptas 2003). The signs are
  products of a row's and a column's (:mod:`portbev.parity.dumps.signs`), which makes the sums products of matrices.
* count, mean, mean square, least, greatest, numbers of NaN and infinities. What is not finite counts as zero in sums.

Works through the tensor in blocks of a megabyte or so: one reading, no copy of the whole unless it is not contiguous.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from portbev.parity.dumps.signs import (
    COLUMNS,
    PROJECTIONS,
    WORDS,
    block_multipliers,
    column_signs,
    mix64,
    place_multipliers,
    row_signs,
)

Level = Literal["hashes", "sketch"]
BLOCK = 256 * COLUMNS
"""Elements that are worked on at once."""


@dataclass(frozen=True)
class Sketch:
    """What is kept of a tensor. At the level ``hashes`` the figures are None and ``projections`` is empty.

    Attributes:
        shape, dtype: as torch names them: ``[2, 3]``, ``float32``.
        hash: of the content, 16 hexadecimal digits.
        nan, inf: how many elements are not finite.
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
        """Plain values; what is not known is left out."""
        values = asdict(self)
        return {name: value for name, value in values.items() if value not in (None, ()) or name == "shape"}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Sketch:
        """What :meth:`as_json` gave.

        Raises:
            TypeError, ValueError, KeyError: another thing.
        """
        values = dict(values)
        shape = tuple(int(size) for size in values.pop("shape"))
        projections = tuple(float(value) for value in values.pop("projections", ()))
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
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a.projections, b.projections, strict=True)) / PROJECTIONS)


@torch.no_grad()
def sketch(tensor: Tensor, level: Level = "sketch") -> Sketch:
    """The sketch of ``tensor``, of any shape and of any dtype with a fixed size; the host waits for its device."""
    return Pending(tensor, level).result()


class Pending:
    """A sketch whose figures are still on the tensor's device: nobody has waited for it yet."""

    @torch.no_grad()
    def __init__(self, tensor: Tensor, level: Level) -> None:
        tensor = tensor.detach()
        self.shape, self.dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        tensor = tensor.resolve_conj().resolve_neg()
        flat = tensor.contiguous().reshape(-1)
        if flat.numel() == 1:
            flat = flat.as_strided((1,), (1,))  # along an axis of one element any stride will do; words need 1
        self._sums = _hash_sums(flat) if flat.numel() else None
        self._figures = _figures(flat) if flat.numel() and level == "sketch" else None

    def result(self) -> Sketch:
        """The sketch; waits."""
        nbytes = math.prod(self.shape) * _itemsize(self.dtype)
        hashed = _finish_hash(None if self._sums is None else self._sums.cpu().numpy(), nbytes, self.dtype)
        if self._figures is None:
            return Sketch(self.shape, self.dtype, hashed)
        nan, inf, total, squares, low, high, *projections = self._figures.cpu().tolist()
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
        )


def _itemsize(dtype: str) -> int:
    return int(getattr(torch, dtype).itemsize)


def _hash_sums(flat: Tensor) -> Tensor:
    """(blocks,) sums of the words' products, int64, on the tensor's device."""
    content = flat.view(torch.uint8)
    whole = content.numel() // 8 * 8
    # a view of words must begin at a whole word of memory
    aligned = content.storage_offset() % 8 == 0
    words = (content[:whole] if aligned else content[:whole].clone()).view(torch.int64)
    if whole < content.numel():
        rest = content.new_zeros(8)
        rest[: content.numel() - whole] = content[whole:]
        words = torch.cat([words, rest.view(torch.int64)]) if words.numel() <= WORDS else words
        late = None if words.numel() * 8 >= content.numel() else rest.view(torch.int64)
    else:
        late = None
    multipliers = place_multipliers(flat.device)
    buffer = torch.empty(min(WORDS, words.numel()), dtype=torch.int64, device=flat.device)
    sums = []
    for block in words.split(WORDS):
        room = buffer[: block.numel()]
        torch.bitwise_right_shift(block, 32, out=room)
        sums.append(room.add_(block).mul_(multipliers[: block.numel()]).sum())
    if late is not None:
        sums.append((late + (late >> 32)).sum())
    return torch.stack(sums)


def _finish_hash(sums: Any, nbytes: int, dtype: str) -> str:
    total = np.zeros(1, np.uint64)
    if sums is not None:
        total = (sums.view(np.uint64) * block_multipliers(len(sums))).sum(keepdims=True, dtype=np.uint64)
    kind = np.frombuffer(dtype.encode().ljust(16), np.uint64)
    for word in (np.uint64(nbytes), *kind):
        total = mix64(total ^ word)
    return f"{int(total[0]):016x}"


def _figures(flat: Tensor) -> Tensor:
    """(6 + PROJECTIONS,) float64: NaNs, infinities, sum, sum of squares, least, greatest, projections."""
    if flat.is_complex():
        flat = torch.view_as_real(flat).reshape(-1)
    if flat.dtype == torch.bool:
        flat = flat.view(torch.uint8)
    device, count = flat.device, flat.numel()
    least, greatest = flat.aminmax()
    columns = column_signs(device)
    projections = torch.zeros(PROJECTIONS, dtype=torch.float64, device=device)
    sums = torch.zeros(4, dtype=torch.float64, device=device)  # NaNs, infinities, sum, squares
    room = torch.empty(min(BLOCK, -(-count // COLUMNS) * COLUMNS), dtype=torch.float64, device=device)
    finite = not flat.is_floating_point() or (
        device.type == "cpu" and math.isfinite(float(least)) and math.isfinite(float(greatest))
    )
    for begin in range(0, count, BLOCK):
        part = flat[begin : begin + BLOCK]
        filled = -(-part.numel() // COLUMNS) * COLUMNS
        block = room[:filled]
        block[: part.numel()].copy_(part)
        block[part.numel() :].zero_()
        if not finite:
            sums[0] += block.isnan().sum()
            sums[1] += block.isinf().sum()
            block.nan_to_num_(0.0, 0.0, 0.0)
        sums[2] += block.sum()
        sums[3] += torch.dot(block, block)
        products = columns @ block.view(-1, COLUMNS).t()
        rows = row_signs(begin // COLUMNS, filled // COLUMNS, device)
        projections += products.mul_(rows).sum(1)
    if not finite:
        kept = flat[flat.isfinite()] if device.type == "cpu" else flat.nan_to_num(0.0, 0.0, 0.0)
        least, greatest = kept.aminmax() if kept.numel() else (flat.new_zeros(()), flat.new_zeros(()))
    return torch.cat([sums, torch.stack([least, greatest]).double(), projections])
