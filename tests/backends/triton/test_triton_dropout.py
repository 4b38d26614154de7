"""Dropout in Triton, by the interpreter, against the reference: the same elements are kept and the results equal."""

from __future__ import annotations

import pytest
import torch

from portbev.ops.dropout import DropoutCall
from portbev.ops.reference import dropout as reference
from portbev_triton import dropout


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [(0,), (1,), (3, 5), (2, 70_001)])
def test_the_same_bits_as_the_reference(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    call = DropoutCall(torch.randn(shape).to(dtype), 0.3, -7_000_000_001, 0xFFFFFFFE, 2**31 + 5)
    out, kept = dropout.forward(call)
    expected, expected_kept = reference.forward(call)
    assert torch.equal(kept, expected_kept)
    assert torch.equal(out, expected)
    assert out.dtype == dtype and kept.dtype == torch.bool


@pytest.mark.parametrize("p", [1e-9, 0.5, 1 - 2**-33, 1.0])
def test_probabilities_at_the_ends(p: float) -> None:
    call = DropoutCall(torch.randn(4_099), p, 2**63 - 1, 0, 0)
    out, kept = dropout.forward(call)
    expected, expected_kept = reference.forward(call)
    assert torch.equal(kept, expected_kept) and torch.equal(out, expected)


@pytest.mark.parametrize("first", [1, 2, 7, 70_000, 2**34 + 3])
def test_a_part_counts_on_from_where_it_begins(first: int) -> None:
    for elements in (0, 1, 3_001):
        call = DropoutCall(torch.randn(elements), 0.4, 9, 8, 7, first)
        for ours, theirs in zip(dropout.forward(call), reference.forward(call), strict=True):
            assert torch.equal(ours, theirs)


def test_a_view_that_is_not_contiguous() -> None:
    call = DropoutCall(torch.randn(33, 65).t()[:, ::2], 0.25, 3, 4, 5)
    assert torch.equal(dropout.forward(call)[0], reference.forward(call)[0])


def test_blocks_of_any_size_count_the_same_words(monkeypatch: pytest.MonkeyPatch) -> None:
    call = DropoutCall(torch.randn(1_500), 0.5, 1, 2, 3)
    expected = reference.forward(call)[1]
    for block in (64, 8192):
        monkeypatch.setattr("portbev_triton.launch.settings", lambda *_, block=block: {"BLOCK": block})
        assert torch.equal(dropout.forward(call)[1], expected)


def test_float64_is_left_to_the_reference() -> None:
    assert dropout.supports(DropoutCall(torch.zeros(2, dtype=torch.float64), 0.5, 0, 0, 0)) is not None
