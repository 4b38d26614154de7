"""Counted dropout: the generator's published answers, and what the mask may and may not depend on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from portbev.ops import dropout
from portbev.ops.dropout import DropoutCall, definition, philox_word
from portbev.ops.reference import dropout as reference
from portbev_cpu.kernels import dropout as dropout_cpu

KEY = {"seed": 5, "site": 6, "step": 7}


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def mask(*shape: int, p: float = 0.5, **key: int) -> Tensor:
    return dropout(torch.ones(shape), p, training=True, **{**KEY, **key}) != 0


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_random123(
    counter: tuple[int, ...], key: tuple[int, int], answer: tuple[int, ...]
) -> None:
    words = reference.philox4x32(tuple(torch.tensor([c]) for c in counter), key)
    assert tuple(int(w) for w in words) == answer
    block, seed = counter[0] | counter[1] << 32, key[0] | key[1] << 32
    assert tuple(philox_word(4 * block + i, seed, counter[3], counter[2]) for i in range(4)) == answer


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 30),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.floats(0.01, 0.99),
)
def test_the_mask_is_the_published_function_of_the_key(
    elements: int, seed: int, site: int, step: int, p: float
) -> None:
    words = [philox_word(i, seed, site, step) for i in range(elements)]
    kept = torch.tensor([w >= round(p * 2**32) for w in words])
    assert torch.equal(mask(elements, p=p, seed=seed, site=site, step=step), kept)


def test_the_mask_depends_on_the_element_and_not_on_shape_or_strides() -> None:
    x = torch.rand(4, 6, 5, generator=torch.Generator().manual_seed(0)) + 1
    flat = dropout(x.reshape(-1), 0.4, training=True, **KEY)
    assert torch.equal(dropout(x, 0.4, training=True, **KEY).reshape(-1), flat)
    turned = x.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    assert not turned.is_contiguous()
    assert torch.equal(dropout(turned, 0.4, training=True, **KEY).reshape(-1), flat)


def test_the_mask_of_a_part_begins_like_that_of_the_whole() -> None:
    assert torch.equal(mask(1000)[:37], mask(37))


@pytest.mark.parametrize("first", [1, 2, 3, 4, 37])
def test_a_part_from_the_middle_has_the_mask_of_its_place(first: int) -> None:
    assert torch.equal(mask(61, first=first), mask(first + 61)[first:])


def test_counting_in_pieces_does_not_change_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = mask(103)
    monkeypatch.setattr(reference, "CHUNK", 4)  # sixteen elements at a time, the last piece short
    assert torch.equal(mask(103), whole)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_mask_does_not_depend_on_the_dtype(dtype: torch.dtype) -> None:
    out = dropout(torch.ones(64, dtype=dtype), 0.5, training=True, **KEY)
    assert out.dtype == dtype and torch.equal(out != 0, mask(64))


@pytest.mark.parametrize("change", [{"seed": 6}, {"seed": 5 + 2**32}, {"seed": 5 + 2**63}, {"site": 7}, {"step": 8}])
def test_every_part_of_the_key_changes_the_mask(change: dict[str, int]) -> None:
    same = (mask(4096) == mask(4096, **change)).double().mean().item()
    assert abs(same - 0.5) < 5 * 0.5 / math.sqrt(4096)


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_as_many_are_kept_as_asked_for_and_the_mean_stays(p: float) -> None:
    n = 100_000
    out = dropout(torch.ones(n, dtype=torch.float64), p, training=True, **KEY)
    assert abs((out != 0).double().mean().item() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / n)
    assert set(out.unique().tolist()) == {0.0, 1 / (1 - p)}


def test_probability_zero_and_evaluation_return_the_input_itself() -> None:
    x = torch.rand(5)
    assert dropout(x, 0.0, training=True, **KEY) is x
    assert dropout(x, 0.9, training=False, **KEY) is x


def test_probability_one_zeroes_everything_even_infinities() -> None:
    x = torch.tensor([1.0, float("inf"), float("nan")], requires_grad=True)
    out = dropout(x, 1.0, training=True, **KEY)
    out.sum().backward()
    assert out.tolist() == [0, 0, 0] and x.grad is not None and x.grad.tolist() == [0, 0, 0]


def test_a_dropped_infinity_is_zero() -> None:
    out = dropout(torch.full((64,), float("inf")), 0.5, training=True, **KEY)
    assert torch.equal(out == 0, ~mask(64)) and not out.isnan().any()


def test_the_gradient_takes_the_same_mask() -> None:
    x = torch.rand(3, 50, dtype=torch.float64, requires_grad=True)
    out = dropout(x, 0.3, training=True, **KEY)
    (gradient,) = torch.autograd.grad(out.sum(), x)
    torch.testing.assert_close(gradient, out.detach() / x.detach())
    torch.autograd.gradcheck(lambda v: dropout(v, 0.3, training=True, **KEY), [x])


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("p", {"p": 1.5}),
        ("p", {"p": -0.1}),
        ("p", {"p": float("nan")}),
        ("input", {"input": torch.arange(3)}),
        ("first", {"first": -1}),
    ],
)
def test_bad_arguments_are_named(name: str, change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^dropout: {name}"):
        dropout(**{"input": torch.ones(3), "p": 0.5, "training": True, **KEY, **change})


@given(
    elements=st.integers(0, 300),
    p=st.sampled_from([0.0001, 0.1, 0.5, 0.97, 1.0]),
    seed=st.integers(-(2**63), 2**63 - 1),
    site=st.integers(0, 2**32 - 1),
    step=st.integers(0, 2**32 - 1),
    first=st.one_of(st.integers(0, 9), st.integers(2**34 - 9, 2**34 + 9)),
)
@settings(max_examples=60, deadline=None)
def test_the_cpus_kernel_drops_what_the_reference_and_the_definition_drop(
    elements: int, p: float, seed: int, site: int, step: int, first: int
) -> None:
    call = DropoutCall(torch.rand(elements) + 1, p, seed, site, step, first)
    for ours, theirs, defined in zip(dropout_cpu.forward(call), reference.forward(call), definition(call), strict=True):
        assert torch.equal(ours, theirs) and torch.equal(ours, defined)


@pytest.mark.usefixtures("threads")
def test_the_cpus_kernel_counts_on_from_piece_to_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dropout_cpu, "BLOCKS", 7)
    call = DropoutCall(torch.rand(3, 41) + 1, 0.3, 5, 6, 7)
    for threads in (1, 3):
        torch.set_num_threads(threads)
        assert torch.equal(dropout_cpu.forward(call)[0], reference.forward(call)[0])
