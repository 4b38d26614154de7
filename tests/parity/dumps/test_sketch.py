"""A sketch tells equal from different, and how far, without the tensors."""

from __future__ import annotations

import math

import pytest
import torch

from portbev.parity.dumps.bands import is_sparse
from portbev.parity.dumps.content import BYTES, Content, small_sums
from portbev.parity.dumps.figures import Figures, small_figures
from portbev.parity.dumps.signs import WORDS, place_multipliers
from portbev.parity.dumps.sketch import Sketch, distance, sketch

SIZES = [1, 7, 8, 511, 513, 131_073, 262_147, 600_001]


@pytest.mark.parametrize("size", SIZES)
def test_a_change_of_any_bit_or_place_changes_the_hash(size: int) -> None:
    torch.manual_seed(size)
    x = torch.randn(size)
    seen = {sketch(x, "hashes").hash}
    for change in (lambda t: t[0].neg_(), lambda t: t[-1].neg_(), lambda t: t[[0, -1]].neg(), lambda t: t[-1].mul_(2)):
        other = x.clone()
        if size == 1:
            other.mul_(3 + len(seen))
        else:
            change(other)
            other[size // 2].add_(len(seen))
        seen.add(sketch(other, "hashes").hash)
    assert len(seen) == 5
    if size > 1:
        swapped = x.clone()
        swapped[0], swapped[-1] = x[-1], x[0]
        assert sketch(swapped).hash != sketch(x).hash


def test_two_signs_flipped_do_not_cancel_in_the_hash() -> None:
    x = torch.randn(4096)
    flipped = {sketch(x).hash}
    for first in range(8):
        other = x.clone()
        other[[first, first + 8]] *= -1
        flipped.add(sketch(other).hash)
    assert len(flipped) == 9


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.bfloat16, torch.float64, torch.cfloat])
def test_memory_format_offset_and_strides_leave_a_sketch_as_it_is(dtype: torch.dtype) -> None:
    x = (torch.randn(3, 5, 7, 9) * 3).to(dtype)
    layouts = [x.to(memory_format=torch.channels_last), x.transpose(1, 3).contiguous().transpose(1, 3)]
    layouts.append(torch.cat([x.new_zeros(1), x.flatten()])[1:].view_as(x))
    for other in layouts:
        assert sketch(other) == sketch(x)


def test_dtype_and_length_are_part_of_the_hash() -> None:
    zeros = torch.zeros(16)
    hashes = {sketch(t).hash for t in (zeros, zeros[:15], zeros.int(), zeros.double(), zeros.new_zeros(0))}
    assert len(hashes) == 5


@pytest.mark.parametrize("shape", [(1000,), (3, 300, 411), (2, 3)])
def test_the_distance_is_estimated_from_sketches_alone(shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    ratios = []
    for _ in range(20):
        x, d = torch.randn(shape), torch.randn(shape) * 1e-4
        told = distance(sketch(x), sketch(x + d))
        assert told is not None
        ratios.append(told / float((x + d - x).double().norm()))
    assert 0.8 < sum(ratios) / 20 < 1.2
    assert all(0.3 < ratio < 2 for ratio in ratios)


def test_the_figures_are_those_of_the_tensor() -> None:
    x = torch.randn(7, 30_001)
    told = sketch(x)
    assert told.mean == pytest.approx(float(x.double().mean()), rel=1e-9)
    assert told.norm == pytest.approx(float(x.double().norm()), rel=1e-12)
    assert (told.low, told.high) == (float(x.min()), float(x.max()))
    x[3, 5], x[2, 2], x[0, 0] = math.nan, math.inf, -math.inf
    told = sketch(x)
    assert (told.nan, told.inf) == (1, 2)
    assert told.norm == pytest.approx(float(x.nan_to_num(0, 0, 0).double().norm()), rel=1e-12)
    assert distance(told, sketch(x.nan_to_num(0, 0, 0))) == math.inf


def test_a_sketch_survives_json() -> None:
    for x in (torch.randn(5, 4), torch.zeros(0, 3), torch.tensor(2.5), torch.tensor([True])):
        told = sketch(x)
        assert Sketch.from_json(told.as_json()) == told


def test_a_sketch_is_the_same_with_another_number_of_threads() -> None:
    x = torch.randn(400_000)
    alone = sketch(x).hash
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert sketch(x).hash == alone
    finally:
        torch.set_num_threads(before)


def test_figures_of_a_tensor_with_a_block_that_has_nothing_finite() -> None:
    x = torch.randn(2 * BYTES // 4 + 5)
    x[: BYTES // 4] = math.nan
    told, rest = sketch(x), x[BYTES // 4 :]
    assert (told.nan, told.low, told.high) == (BYTES // 4, float(rest.min()), float(rest.max()))
    nothing = sketch(torch.full((20_000,), math.inf))
    assert (nothing.inf, nothing.low, nothing.high, nothing.norm) == (20_000, 0.0, 0.0, 0.0)


@pytest.mark.parametrize("dtype", [torch.bool, torch.bfloat16, torch.float32, torch.cfloat, torch.int64])
@pytest.mark.parametrize("size", [1, 3, 8, 37, 4099, 16_384])
def test_a_device_and_the_host_sketch_small_tensors_alike(dtype: torch.dtype, size: int) -> None:
    flat = (torch.randn(size) * 3).to(dtype)
    if dtype == torch.float32 and size > 8:
        flat[5], flat[6] = math.nan, -math.inf
    content = Content(flat)
    content.take(0, flat.numel() * flat.element_size())
    assert content.sums().tolist() == small_sums(flat).tolist()
    figures = Figures(flat)
    figures.take(0, size)
    told = torch.from_numpy(small_figures(flat))
    torch.testing.assert_close(figures.result(), told, rtol=1e-12, atol=1e-9)


def test_devices_without_a_dot_product_of_integers_hash_alike() -> None:
    flat = torch.randint(-(2**62), 2**62, (200_003,))
    words = (flat.view(torch.uint8) ^ torch.cat([flat.view(torch.uint8)[5:], torch.zeros(5, dtype=torch.uint8)])).view(
        torch.int64
    )
    sums = [(part * place_multipliers(flat.device)[: len(part)]).sum() for part in words.split(WORDS)]
    content = Content(flat)
    content.take(0, 8 * len(flat))
    assert content.sums().tolist() == torch.stack(sums).tolist()


@pytest.mark.parametrize("coarse", ["sign", "bfloat16", "last byte"])
def test_pairs_of_coarse_changes_do_not_cancel_in_the_hash(coarse: str) -> None:
    x = torch.randn(300_000).bfloat16().float()
    seen = {sketch(x, "hashes").hash}
    places = [1, 3, 5, 8, 131_073, 131_075, 131_425, 262_145]
    for number, first in enumerate(places):
        for second in places[:number]:
            other = x.clone()
            if coarse == "sign":
                other[[first, second]] *= -1
            elif coarse == "bfloat16":
                other[[first, second]] *= 1 + 2**-7
                other = other.bfloat16().float()
            else:
                other.view(torch.int32)[[first, second]] ^= 1
            seen.add(sketch(other, "hashes").hash)
    assert len(seen) == 1 + len(places) * (len(places) - 1) // 2


@pytest.mark.parametrize("where", ["one channel", "last channels", "one row", "one place", "offset", "ramp"])
@pytest.mark.parametrize("channels", [16, 64, 256, 592])
def test_the_distance_of_a_regular_difference_is_estimated_too(where: str, channels: int) -> None:
    torch.manual_seed(0)
    shape = (2, 40, 50, channels)
    x, d = torch.randn(shape), torch.zeros(shape)
    if where == "one channel":
        d[..., 5] = 1e-3
    elif where == "last channels":
        d[..., -3:] = torch.randn(2, 40, 50, 3)
    elif where == "one row":
        d[1, 7] = torch.randn(50, channels)
    elif where == "one place":
        d[1, 7, 9, 11] = 3.0
    elif where == "offset":
        d += 1e-3
    else:
        d += torch.arange(channels) * 1e-3
    told = distance(sketch(x), sketch(x + d))
    assert told is not None
    assert 0.3 < told / float(((x + d).double() - x.double()).norm()) < 3


@pytest.mark.parametrize("size", [40, 10_000, 500_000])
def test_few_elements_that_changed_are_told_from_many(size: int) -> None:
    torch.manual_seed(size)
    x = torch.randn(size)
    few, many = x.clone(), x + 1e-3 * torch.randn(size)
    few[[3, 17, 39]] += torch.tensor([1.0, -2.0, 0.5])
    assert is_sparse(sketch(x), sketch(few))
    assert not is_sparse(sketch(x), sketch(many))
    noise = 1e-6 * torch.randn(size)
    assert is_sparse(sketch(x), sketch(few + noise), float(noise.norm()))
