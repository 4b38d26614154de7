"""Hash and figures of a large tensor on the host in one pass over its memory, by ``one_pass.cpp``.

torch has no operator for either, so that it goes through a tensor several times; the compiled pass takes a quarter to a
half of the time. The hash has the same bits, the figures are the same sums in another order. Where it cannot be had,
torch computes both.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.compiled import NotCompiledError, load
from portbev.parity.dumps.content import BYTES, Content
from portbev.parity.dumps.figures import Figures
from portbev.parity.dumps.signs import COLUMNS, PROJECTIONS, SMALL

_SOURCE = Path(__file__).with_name("one_pass.cpp")
_FLAGS = ("-std=c++17", "-O3")
_ONE_TARGET = "-DPORTBEV_ONE_TARGET"
ATTEMPTS = ((*_FLAGS, "-fopenmp"), (*_FLAGS, "-fopenmp", _ONE_TARGET), (*_FLAGS, _ONE_TARGET))
"""Some compilers have no OpenMP, some no function for several kinds of processor."""
_DTYPES = {torch.float32: 1, torch.float64: 2, torch.bfloat16: 3, torch.float16: 4}
"""Their numbers in the source."""


class OnePass:
    """The compiled pass.

    Raises:
        NotCompiledError: it cannot be had here, or computes otherwise than torch.
    """

    def __init__(self) -> None:
        self._call = load(_SOURCE, ATTEMPTS).portbev_one_pass
        at, size, number = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
        self._call.argtypes, self._call.restype = (at, size, number, number, at, at), None
        self._try()

    @staticmethod
    def has(dtype: torch.dtype) -> bool:
        """Whether it makes figures of this dtype; it hashes all."""
        return dtype in _DTYPES

    def __call__(self, flat: Tensor, *, figures: bool) -> tuple[NDArray[np.int64], NDArray[np.float64] | None]:
        """The sums that :class:`Content` gives and, if asked for, the figures that :class:`Figures` gives.

        Args:
            flat: (n,) contiguous, on the host, of more than ``SMALL`` elements.
        """
        count = flat.numel() * flat.element_size()
        sums = np.empty(-(-count // BYTES), np.int64)
        told = np.empty(6 + PROJECTIONS) if figures else None
        dtype = _DTYPES[flat.dtype] if figures else 0
        threads = torch.get_num_threads()
        self._call(flat.data_ptr(), count, dtype, threads, sums.ctypes.data, None if told is None else told.ctypes.data)
        return sums, told

    def _try(self) -> None:
        """Compare with torch: a compiler, or a processor, may be wrong."""
        flat = torch.arange(SMALL + COLUMNS + 3, dtype=torch.float32).sin()
        flat[7], flat[1234] = torch.nan, torch.inf
        content, figures = Content(flat), Figures(flat)
        content.take(0, flat.numel() * flat.element_size())
        figures.take(0, flat.numel())
        sums, told = self(flat, figures=True)
        same = np.array_equal(sums, content.sums().numpy())
        if told is None or not (same and np.allclose(told, figures.result().numpy(), rtol=1e-9, atol=1e-9)):
            raise NotCompiledError(f"what was compiled of {_SOURCE.name} computes otherwise than torch does")


class Sought(NamedTuple):
    """The pass, or why there is none."""

    one_pass: OnePass | None
    reason: str = ""


@lru_cache(maxsize=1)
def seek_one_pass() -> Sought:
    """Compile or load it, once in a process."""
    try:
        return Sought(OnePass())
    except NotCompiledError as error:
        return Sought(None, str(error))
