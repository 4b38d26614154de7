"""A hash of a tensor's content: 64 bits, the same on every device and in every memory format.

The content's bytes in logical order are taken as 64-bit words. Each word is combined with the bytes that lie five
further on (``w[i] ^ w[i + 5]``, byte by byte), multiplied by an odd random number of its place, and all are added up
modulo 2**64: a multilinear hash (Dietzfelbinger et al. 1997), a sum of integers, which no order changes. The
combination is one to one. It is there because a product modulo 2**64 hands on no more than the last bits of a word's
upper half, where the sign and the exponent of every other float32 lie: they now lie in some word's lower half as well.

One element that differs always changes the hash; several cancel by chance in less than one of 2**25 cases, and mostly
of 2**40. It finds differences of computations. It is no protection from a forger: that is what the SHA-256 of a dump's
files is for.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.parity.dumps.room import Room
from portbev.parity.dumps.signs import (
    WORDS,
    block_multipliers,
    dtype_word,
    mix_one,
    place_multipliers,
    place_words,
)

BYTES = 8 * WORDS
"""Of a block of words."""
_AHEAD = 5
_LOW = (1 << 64) - 1


class Content:
    """Sums of the words' products, block by block, on the tensor's device.

    Args:
        flat: (n,) contiguous, n > 0.
        room: memory to work in.
    """

    def __init__(self, flat: Tensor, room: Room | None = None) -> None:
        self._bytes = flat.view(torch.uint8)
        count = min(WORDS, -(-self._bytes.numel() // 8))
        self._words = (room or Room()).of(WORDS, count, torch.int64, flat.device)
        self._sums: list[Tensor] = []
        # One thread computes a dot product of integers, and no device but the host can.
        self._alone = flat.device.type == "cpu" and torch.get_num_threads() == 1

    def take(self, begin: int, end: int) -> None:
        """The bytes from ``begin`` on, up to ``end``; ``begin`` is a multiple of :data:`BYTES`."""
        multipliers = place_multipliers(self._bytes.device)
        for first in range(begin, end, BYTES):
            last = min(first + BYTES, end)
            words = self._words[: -(-(last - first) // 8)]
            self._combine(first, 8 * words.numel(), words.view(torch.uint8))
            many = multipliers[: words.numel()]
            self._sums.append(torch.dot(words, many) if self._alone else words.mul_(many).sum())

    def sums(self) -> Tensor:
        """(blocks,) int64."""
        return torch.stack(self._sums)

    def _combine(self, first: int, count: int, out: Tensor) -> None:
        """``count`` combined bytes; what lies beyond the end is zero."""
        content = self._bytes
        if first + count + _AHEAD > content.numel():
            rest = content[first:]
            content, first = rest.new_zeros(count + _AHEAD), 0
            content[: rest.numel()] = rest
        later = content[first + _AHEAD : first + _AHEAD + count]
        torch.bitwise_xor(content[first : first + count], later, out=out)


def small_sums(flat: Tensor) -> NDArray[np.int64]:
    """The same for a tensor on the host that is no longer than a block, by NumPy, whose calls take less time."""
    data = flat.view(torch.uint8).numpy().tobytes()
    count = -(-len(data) // 8) * 8
    padded = np.frombuffer(data + bytes(count + _AHEAD - len(data)), np.uint8)
    words = (padded[:count] ^ padded[_AHEAD:]).view(np.int64)
    return np.array([np.dot(words, place_words()[: len(words)])], np.int64)


def finish_hash(sums: list[int], nbytes: int, dtype: str) -> str:
    """16 hexadecimal digits: the sums of the blocks, each with the block's multiplier, the length and the dtype."""
    total = sum(one * factor for one, factor in zip(sums, block_multipliers(len(sums)), strict=True)) & _LOW
    for word in (nbytes, dtype_word(dtype)):
        total = mix_one(total ^ word)
    return f"{total:016x}"
