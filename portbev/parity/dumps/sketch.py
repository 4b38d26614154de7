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
from base64 import b64decode, b64encode
from dataclasses import dataclass
from struct import Struct
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.parity.dumps.signs import (
    COLUMNS,
    PROJECTIONS,
    WORDS,
    block_multipliers,
    column_signs,
    dtype_word,
    mix_one,
    place_multipliers,
    place_words,
    row_signs,
    small_signs,
)

Level = Literal["hashes", "sketch"]
_PACKED = Struct(f"<{PROJECTIONS}d")
_LOW = (1 << 64) - 1
_SMALL = 1 << 14
"""So many elements on the host are sketched by NumPy, whose calls take less time."""
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
        """Plain values; what is not known is left out. The projections are base64 of 16 little-endian doubles."""
        values: dict[str, Any] = {"shape": self.shape, "dtype": self.dtype, "hash": self.hash}
        for name in ("nan", "inf"):
            if getattr(self, name):
                values[name] = getattr(self, name)
        for name in ("mean", "mean_square", "low", "high"):
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
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a.projections, b.projections, strict=True)) / PROJECTIONS)


@torch.no_grad()
def sketch(tensor: Tensor, level: Level = "sketch") -> Sketch:
    """The sketch of ``tensor``, of any shape and of any dtype with a fixed size; the host waits for its device."""
    return Pending(tensor, level).result()


class Pending:
    """A sketch whose figures are still on the tensor's device: nobody has waited for it yet."""

    @torch.no_grad()
    def __init__(self, tensor: Tensor, level: Level) -> None:
        with torch._C.DisableTorchFunction():  # nobody need hear of these calls
            self._begin(tensor.detach(), level)

    def _begin(self, tensor: Tensor, level: Level) -> None:
        self.shape, self.dtype = tuple(tensor.shape), str(tensor.dtype).removeprefix("torch.")
        self._bytes = tensor.numel() * tensor.element_size()
        self._sums: Any = None
        self._figures: Any = None
        if tensor.is_complex() or tensor.is_neg():
            tensor = tensor.resolve_conj().resolve_neg()
        flat = tensor.contiguous().view(-1)
        if flat.numel() == 1:
            flat = flat.as_strided((1,), (1,))  # along an axis of one element any stride will do; words need 1
        if not self._bytes:
            return
        small = flat.device.type == "cpu" and flat.numel() <= _SMALL
        self._sums = _small_hash_sum(flat) if small else _hash_sums(flat)
        if level == "sketch":
            self._figures = _small_figures(flat) if small else _figures(flat)

    def result(self) -> Sketch:
        """The sketch; waits."""
        sums = [] if self._sums is None else self._sums.tolist()
        hashed = _finish_hash(sums, self._bytes, self.dtype)
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
        )


def _hash_sums(flat: Tensor) -> Tensor:
    """(blocks,) sums of the words' products, int64, on the tensor's device."""
    content = flat.view(torch.uint8)
    whole = content.numel() // 8 * 8
    # a view of words must begin at a whole word of memory
    aligned = content.storage_offset() % 8 == 0
    words = (content[:whole] if aligned else content[:whole].clone()).view(torch.int64)
    multipliers = place_multipliers(flat.device)
    buffer = torch.empty(min(WORDS, words.numel()), dtype=torch.int64, device=flat.device)
    sums = []
    for block in words.split(WORDS) if whole else ():
        room = buffer[: block.numel()]
        torch.bitwise_right_shift(block, 32, out=room)
        sums.append(room.add_(block).mul_(multipliers[: block.numel()]).sum())
    if whole < content.numel():  # the last word, filled with zeros, has a block of its own
        rest = content.new_zeros(8)
        rest[: content.numel() - whole] = content[whole:]
        word = rest.view(torch.int64)
        sums.append((word + (word >> 32)).sum())
    return torch.stack(sums)


def _small_hash_sum(flat: Tensor) -> NDArray[np.int64]:
    """The same for a short tensor on the host."""
    content = flat.view(torch.uint8).numpy()
    whole = len(content) // 8 * 8
    words = np.frombuffer(content[:whole].tobytes(), np.int64)
    sums = [int((((words >> 32) + words) * place_words()[: len(words)]).sum())] if whole else []
    if whole < len(content):
        word = int.from_bytes(content[whole:].tobytes(), "little")  # less than eight bytes: no sign
        sums.append(word + (word >> 32))
    return np.array(sums, np.int64)


def _finish_hash(sums: list[int], nbytes: int, dtype: str) -> str:
    total = sum(one * factor for one, factor in zip(sums, block_multipliers(len(sums)), strict=True)) & _LOW
    for word in (nbytes, dtype_word(dtype)):
        total = mix_one(total ^ word)
    return f"{total:016x}"


def _figures(flat: Tensor) -> Tensor:
    """(6 + PROJECTIONS,) float64: NaNs, infinities, sum, sum of squares, least, greatest, projections."""
    flat = _real(flat)
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


def _small_figures(flat: Tensor) -> NDArray[np.float64]:
    """The same for a short tensor on the host."""
    x = _real(flat).double().numpy()
    nan = inf = 0
    least, greatest = x.min(), x.max()
    if not (math.isfinite(least) and math.isfinite(greatest)):
        nan, inf, finite = np.isnan(x).sum(), np.isinf(x).sum(), np.isfinite(x)
        kept = x[finite]
        least, greatest = (kept.min(), kept.max()) if len(kept) else (0.0, 0.0)
        x = np.where(finite, x, 0.0)
    columns, rows = small_signs()
    if len(x) <= COLUMNS:
        projections = (columns[:, : len(x)] @ x) * rows[:, 0]
    else:
        padded = np.zeros(-(-len(x) // COLUMNS) * COLUMNS)
        padded[: len(x)] = x
        products = columns @ padded.reshape(-1, COLUMNS).T
        projections = np.einsum("pr,pr->p", products, rows[:, : products.shape[1]])
    return np.concatenate([(nan, inf, x.sum(), x @ x, least, greatest), projections])


def _real(flat: Tensor) -> Tensor:
    """Complex numbers as pairs, bools as 0 and 1."""
    if flat.is_complex():
        return torch.view_as_real(flat).reshape(-1)
    return flat.view(torch.uint8) if flat.dtype == torch.bool else flat
