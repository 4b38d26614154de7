"""Kernels in Triton run here by its interpreter, on tensors of the CPU, and are compiled in processes of their own."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from packaging.version import Version


@pytest.fixture(autouse=True, scope="session")
def _interpreted() -> Iterator[None]:
    """Triton decides where a kernel is defined, at the first import of the package's sources."""
    if importlib.util.find_spec("triton") is None:
        pytest.skip("triton is not installed: pip install 'portbev[cuda]'")
    before = os.environ.get("TRITON_INTERPRET")
    os.environ["TRITON_INTERPRET"] = "1"
    with pytest.MonkeyPatch.context() as patch:
        _interpret_the_language(patch)
        _numbers_of_one_element(patch)
        _round_to_bfloat16(patch)
        _multiply_bfloat16(patch)
        yield
    os.environ.pop("TRITON_INTERPRET")
    if before is not None:
        os.environ["TRITON_INTERPRET"] = before


def _interpret_the_language(patch: pytest.MonkeyPatch) -> None:
    """Where something imported Triton before, its own functions (zeros_like, sum) wait for a compiled kernel."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpretedFunction
    from triton.runtime.jit import JITFunction

    for module in (tl, tl.standard, tl.random):
        for name, value in list(vars(module).items()):
            if isinstance(value, JITFunction):
                patch.setattr(module, name, InterpretedFunction(value.fn))


def _numbers_of_one_element(patch: pytest.MonkeyPatch) -> None:
    """Up to Triton 3.5 an array of one element is taken for an integer, which NumPy has refused since 2.4."""
    import triton
    from triton.runtime import interpreter

    if Version(triton.__version__) >= Version("3.6"):
        return
    prepare = interpreter._patch_lang_tensor

    def prepared(tensor: Any) -> None:
        prepare(tensor)
        tensor.__index__ = lambda self: int(self.handle.data.item())

    patch.setattr(interpreter, "_patch_lang_tensor", prepared)


def _round_to_bfloat16(patch: pytest.MonkeyPatch) -> None:
    """The interpreter cuts the bits off where every device rounds to the nearest."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    cut = InterpreterBuilder.cast_impl

    def cast(self: Any, source: Any, kind: Any) -> Any:
        if source.dtype.scalar == tl.float32 and kind.scalar == tl.bfloat16:
            values = torch.from_numpy(np.ascontiguousarray(source.data, np.float32)).bfloat16()
            return TensorHandle(values.view(torch.uint16).numpy(), kind.scalar)
        return cut(self, source, kind)

    patch.setattr(InterpreterBuilder, "cast_impl", cast)
    patch.setattr(InterpreterBuilder, "create_fp_trunc", cast)


def _multiply_bfloat16(patch: pytest.MonkeyPatch) -> None:
    """The interpreter keeps bfloat16 as its bits, and multiplies matrices of those."""
    import triton.language as tl
    from triton.runtime.interpreter import InterpreterBuilder, TensorHandle

    multiply = InterpreterBuilder.create_dot

    def floats(handle: Any) -> Any:
        if handle.dtype.scalar != tl.bfloat16:
            return handle
        bits = torch.from_numpy(np.ascontiguousarray(handle.data).view(np.int16))
        return TensorHandle(bits.view(torch.bfloat16).float().numpy(), tl.float32)

    def dot(self: Any, a: Any, b: Any, *others: Any) -> Any:
        return multiply(self, floats(a), floats(b), *others)

    patch.setattr(InterpreterBuilder, "create_dot", dot)


@pytest.fixture
def another_order() -> Iterator[list[int]]:
    """Programs run in an order drawn anew for each launch; the fixture's list counts the launches with several."""
    from triton.runtime.interpreter import InterpreterBuilder

    set_index, launches, drawn = InterpreterBuilder.set_grid_idx, [0], np.random.default_rng(5)
    order: list[tuple[int, ...]] = []

    def set_permuted(self: Any, *at: int) -> None:
        if not any(at):
            every = list(np.ndindex(*self.grid_dim))
            order[:] = [every[i] for i in drawn.permutation(len(every))]
            launches[0] += len(every) > 1
        number = int(np.ravel_multi_index(at, self.grid_dim))
        set_index(self, *order[number])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(InterpreterBuilder, "set_grid_idx", set_permuted)
        yield launches
