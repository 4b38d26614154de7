"""Multi-scale deformable attention against its definition, grid_sample and finite differences, by each CPU kernel."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from portbev.kernels import KERNELS
from portbev.ops import ms_deform_attn, ms_deform_attn_ragged
from portbev.ops.ms_deform_attn import MS_DEFORM_ATTN, MsDeformAttnCall
from portbev.ops.reference import ms_deform_attn as reference
from portbev_cpu.kernels import ms_deform_attn as ms_deform_attn_cpu

Shapes = list[tuple[int, int]]


@pytest.fixture(autouse=True, scope="module", params=["reference", "cpu_fast"])
def provider(request: pytest.FixtureRequest) -> Iterator[str]:
    """Every test runs by the reference and by the CPU's own kernel."""
    before = KERNELS._active, KERNELS._device_type
    KERNELS.use("cpu", KERNELS.rank("cpu", [ms_deform_attn_cpu.KERNEL], choice={"ms_deform_attn": request.param}))
    yield request.param
    KERNELS._active, KERNELS._device_type = before


@pytest.fixture(autouse=True)
def by_provider(provider: str) -> Iterator[None]:
    """No test passes because another kernel served it."""
    KERNELS.ledger.clear()
    yield
    assert {served for (_, _, served) in KERNELS.ledger.served} <= {provider}


def case(
    shapes: Shapes,
    counts: list[int],
    *,
    heads: int = 2,
    depth: int = 3,
    points: int = 2,
    reach: float = 0.4,
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Tensor]:
    """value, locations (R, M, L, P, 2) around the middle of the maps, weights."""
    rng = torch.Generator().manual_seed(seed)
    samples = (sum(counts), heads, len(shapes), points)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    pixels = sum(h * w for h, w in shapes)
    value = normal(len(counts), pixels, heads, depth).to(dtype)
    return [value, (0.5 + reach * normal(*samples, 2)).to(dtype), normal(*samples).to(dtype)]


def expected(shapes: Shapes, counts: list[int], tensors: list[Tensor]) -> Tensor:
    value, locations, weights = (t.detach().double() for t in tensors)
    flat = [size for shape in shapes for size in shape]
    defined: Tensor = MS_DEFORM_ATTN.definition(MsDeformAttnCall(value, locations, weights, torch.tensor(counts), flat))
    return defined


def values_and_gradients(shapes: Shapes, counts: list[int], tensors: list[Tensor]) -> list[Tensor]:
    inputs = [t.detach().clone().requires_grad_() for t in tensors]
    out = ms_deform_attn_ragged(inputs[0], shapes, inputs[1], inputs[2], counts)
    return [out, *torch.autograd.grad(out.square().sum(), inputs)]


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=3),
    counts=st.lists(st.integers(0, 5), min_size=1, max_size=3),
    heads=st.integers(1, 3),
    depth=st.integers(1, 4),
    points=st.integers(1, 3),
    reach=st.sampled_from([0.1, 0.5, 3.0, 1e30]),
    seed=st.integers(0, 2**16),
)
def test_equals_its_definition_for_any_shape(shapes: Shapes, counts: list[int], **drawn: Any) -> None:
    tensors = case(shapes, counts, **drawn)
    out = ms_deform_attn_ragged(tensors[0], shapes, tensors[1], tensors[2], counts)
    torch.testing.assert_close(out, expected(shapes, counts, tensors))


def by_grid_sample(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """The dense form through torch's own bilinear sampling: a peer that shares no code."""
    B, Q, M, _, P, _ = locations.shape
    D, total, first = value.shape[3], 0, 0
    for level, (h, w) in enumerate(shapes):
        maps = value[:, first : first + h * w].permute(0, 2, 3, 1).reshape(B * M, D, h, w)
        grid = (2 * locations[:, :, :, level] - 1).transpose(1, 2).reshape(B * M, Q, P, 2)
        seen = functional.grid_sample(maps, grid, align_corners=False)
        total = total + (seen * weights[:, :, :, level].transpose(1, 2).reshape(B * M, 1, Q, P)).sum(-1)
        first += h * w
    assert isinstance(total, Tensor)
    return total.reshape(B, M * D, Q).transpose(1, 2)


MANY = [(4, 6), (3, 2), (1, 1)]


@pytest.mark.parametrize("queries", [1, 40], ids=["fewer corners than pixels", "more corners than pixels"])
def test_the_dense_form_and_its_gradients_are_those_of_grid_sample(queries: int) -> None:
    shapes = [*MANY, (5, 7)]
    value, locations, weights = case(shapes, [queries] * 2, points=2)
    inputs = [value, locations.unflatten(0, (2, queries)), weights.unflatten(0, (2, queries))]
    results = []
    for function in (ms_deform_attn, by_grid_sample):
        leaves = [t.clone().requires_grad_() for t in inputs]
        out = function(leaves[0], shapes, leaves[1], leaves[2])
        results.append([out, *torch.autograd.grad(out.square().sum(), leaves)])
    for mine, theirs in zip(*results, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_every_image_reads_its_own_rows_as_in_the_padded_form() -> None:
    counts, longest = [4, 0, 9, 1], 9
    tensors = case(MANY, counts)
    ragged = values_and_gradients(MANY, counts, tensors)
    starts = [sum(counts[:i]) for i in range(len(counts))]
    value, *rows = (t.clone().requires_grad_() for t in tensors)

    def pad(rows: Tensor) -> Tensor:
        parts = [rows[s : s + n].flatten(1) for s, n in zip(starts, counts, strict=True)]
        return torch.stack([functional.pad(p, (0, 0, 0, longest - len(p))) for p in parts]).unflatten(2, rows.shape[1:])

    dense = ms_deform_attn(value, MANY, *(pad(t) for t in rows))
    kept = torch.cat([dense[i, :n] for i, n in enumerate(counts)])
    gradients = torch.autograd.grad(kept.square().sum(), [value, *rows])
    for one, other in zip(ragged, [kept, *gradients], strict=True):
        torch.testing.assert_close(one, other)


SAMPLES = {
    "the middle of a pixel": (0.5 / 5, 1.5 / 4, lambda image: image[1, 0]),
    "between four pixels": (2 / 5, 1 / 4, lambda image: image[0:2, 1:3].mean()),
    "the lower right corner": (1.0, 1.0, lambda image: image[3, 4] / 4),
    "the upper left corner": (0.0, 0.0, lambda image: image[0, 0] / 4),
    "the left edge": (0.0, 2.5 / 4, lambda image: image[2, 0] / 2),
    "half a pixel to the left": (-0.5 / 5, 0.5 / 4, lambda image: image[0, 0] * 0),
    "half a pixel below": (0.5 / 5, 4.5 / 4, lambda image: image[0, 0] * 0),
    "far away": (-1e20, 1e20, lambda image: image[0, 0] * 0),
    "infinitely far": (float("inf"), -float("inf"), lambda image: image[0, 0] * 0),
    "infinitely far along x": (float("inf"), 0.5, lambda image: image[0, 0] * 0),
    "nowhere (NaN)": (0.5, float("nan"), lambda image: image[0, 0] * 0),
}


@pytest.mark.parametrize("where", SAMPLES)
def test_a_point_reads_the_map_at_its_place(where: str) -> None:
    x, y, value = SAMPLES[where]
    image = torch.arange(1.0, 21.0, dtype=torch.float64).reshape(4, 5)
    place = torch.tensor([x, y], dtype=torch.float64).expand(9, 1, 1, 1, 2)
    out = ms_deform_attn_ragged(image.reshape(1, 20, 1, 1), [(4, 5)], place, torch.ones_like(place[..., 0]), [9])
    torch.testing.assert_close(out, value(image).expand(9, 1))


@pytest.mark.parametrize("place", [(float("nan"), 0.5), (0.5, float("inf")), (-0.3, 0.5), (0.5, 1.3)])
@pytest.mark.parametrize("repeats", [1, 9])
def test_a_point_outside_sends_no_gradient(place: tuple[float, float], repeats: int) -> None:
    value, locations, weights = case([(3, 4)], [repeats], heads=1, points=1)
    locations = torch.tensor(place, dtype=torch.float64).expand(locations.shape)
    for gradient in values_and_gradients([(3, 4)], [repeats], [value, locations, weights]):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def off_the_lattice(locations: Tensor, shapes: Shapes) -> Tensor:
    """Bilinear sampling has kinks where a point crosses a pixel's centre: finite differences must not."""
    sizes = torch.tensor([(w, h) for h, w in shapes], dtype=locations.dtype)[:, None]
    pixels = locations * sizes - 0.5
    whole = pixels.floor()
    return (whole + 0.2 + 0.6 * (pixels - whole) + 0.5) / sizes


@pytest.mark.parametrize(
    ("shapes", "counts", "options"),
    [
        ([(3, 4)], [3], {}),
        ([(3, 2), (1, 1), (2, 5)], [2, 0, 5], {"points": 3}),
        ([(6, 7)], [1, 1], {"points": 1, "reach": 1.0}),
    ],
)
def test_gradients_equal_finite_differences(shapes: Shapes, counts: list[int], options: dict[str, Any]) -> None:
    value, locations, weights = case(shapes, counts, **options)
    inputs = [t.requires_grad_() for t in (value, off_the_lattice(locations, shapes), weights)]
    torch.autograd.gradcheck(lambda v, x, w: ms_deform_attn_ragged(v, shapes, x, w, counts), inputs)


def test_more_corners_than_a_map_has_pixels_and_border_have_their_gradients() -> None:
    tensors = case([(1, 1)], [3], heads=1, points=9)
    inputs = [t.requires_grad_() for t in (tensors[0], off_the_lattice(tensors[1], [(1, 1)]), tensors[2])]
    torch.autograd.gradcheck(lambda v, x, w: ms_deform_attn_ragged(v, [(1, 1)], x, w, [3]), inputs)


@pytest.mark.parametrize(
    ("counts", "images", "queries"), [([0, 0, 0], 3, 0), ([], 0, 5)], ids=["no queries", "no images"]
)
def test_nothing_to_do_gives_empty_results_and_zero_gradients(counts: list[int], images: int, queries: int) -> None:
    value, *rows = case(MANY, counts)
    out, *gradients = values_and_gradients(MANY, counts, [value, *rows])
    assert out.shape == (0, 6)
    assert [g.shape for g in gradients] == [value.shape, *(t.shape for t in rows)]
    assert not gradients[0].any()
    shape = (images, queries, 2, 3, 2)
    dense = ms_deform_attn(value, MANY, value.new_zeros(*shape, 2), value.new_zeros(shape))
    assert dense.shape == (images, queries, 6)


def test_an_image_without_queries_gets_no_gradient() -> None:
    value, *rows = case(MANY, [30, 0, 30])
    _, by_value, *_ = values_and_gradients(MANY, [30, 0, 30], [value, *rows])
    assert by_value[0].any()
    assert not by_value[1].any()
    assert by_value[2].any()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_once_at_the_end(dtype: torch.dtype) -> None:
    """Sums of 8*4*4 products: rounding locations, weights or partial sums would miss the bound many times."""
    shapes, counts = [(30, 40), (15, 20), (8, 10), (4, 5)], [60]
    value, locations, weights = case(shapes, counts, points=8, depth=4, dtype=torch.float32)
    half = value.to(dtype)
    out = ms_deform_attn_ragged(half, shapes, locations, weights, counts)
    assert out.dtype == dtype
    exact = expected(shapes, counts, [half, locations, weights])
    bound = torch.finfo(dtype).eps / 2 * exact.abs() + 1e-4
    assert ((out.double() - exact).abs() <= bound).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_have_the_dtypes_of_their_tensors(dtype: torch.dtype) -> None:
    value, locations, weights = case(MANY, [20], dtype=torch.float32)
    inputs = [value.to(dtype).requires_grad_(), locations.requires_grad_(), weights.to(dtype).requires_grad_()]
    ms_deform_attn_ragged(inputs[0], MANY, inputs[1], inputs[2], [20]).float().sum().backward()
    assert [t.grad.dtype for t in inputs if t.grad is not None] == [dtype, torch.float32, dtype]


def test_blocks_and_head_groups_do_not_change_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = case(MANY, [40, 3, 25], heads=5)
    whole = values_and_gradients(MANY, [40, 3, 25], tensors)
    monkeypatch.setattr(reference, "BLOCK_BYTES", 2000)
    for name, size in {"_TERMS": 2000, "_SORTED_TERMS": 60, "_TABLE_BYTES": 2500}.items():
        monkeypatch.setattr(ms_deform_attn_cpu, name, size)
    for one, other in zip(whole, values_and_gradients(MANY, [40, 3, 25], tensors), strict=True):
        torch.testing.assert_close(one, other)


def test_an_image_alone_has_the_bits_that_it_has_among_others() -> None:
    """Devices that call a vendor's function image by image must not differ from those that do not."""
    counts = [200, 0, 1, 150]  # the third has fewer corners to read than pixels
    value, locations, weights = case(MANY, counts, dtype=torch.float32)
    together = values_and_gradients(MANY, counts, [value, locations, weights])
    first = 0
    for image, count in enumerate(counts):
        rows = slice(first, first + count)
        alone = values_and_gradients(MANY, [count], [value[image : image + 1], locations[rows], weights[rows]])
        for one, other in zip(alone, (together[0][rows], together[1][image : image + 1]), strict=False):
            assert torch.equal(one, other)
        first += count


def test_counts_that_change_from_call_to_call_compile_as_one_graph() -> None:
    value, locations, weights = case(MANY, [5, 6])

    def run(counts: list[int]) -> Tensor:
        return ms_deform_attn_ragged(value, MANY, locations, weights, counts)

    compiled = torch.compile(run, fullgraph=True, backend="aot_eager")
    for counts in ([5, 6], [7, 4], [11, 0]):
        assert torch.equal(compiled(counts), run(counts))


BAD: dict[str, tuple[str, dict[str, Any]]] = {
    "value dimensions": ("value", {"value": torch.rand(1, 12, 6)}),
    "integers": ("value", {"value": torch.ones(1, 12, 2, 3, dtype=torch.int32)}),
    "no channels": ("value", {"value": torch.ones(1, 12, 2, 0)}),
    "pixels": ("value has 11 pixels", {"value": torch.rand(1, 11, 2, 3)}),
    "no levels": ("spatial_shapes", {"spatial_shapes": []}),
    "empty level": ("spatial_shapes", {"spatial_shapes": [(3, 4), (0, 2)]}),
    "levels": ("value has 12 pixels", {"spatial_shapes": [(3, 4), (1, 1)]}),
    "heads": ("locations", {"locations": torch.rand(1, 5, 3, 1, 2, 2)}),
    "coordinates": ("locations", {"locations": torch.rand(1, 5, 2, 1, 2, 3)}),
    "location dimensions": ("locations", {"locations": torch.rand(5, 2, 1, 2, 2)}),
    "images": ("locations", {"locations": torch.rand(2, 5, 2, 1, 2, 2), "weights": torch.rand(2, 5, 2, 1, 2)}),
    "points": ("weights", {"weights": torch.rand(1, 5, 2, 1, 3)}),
    "weight dimensions": ("weights", {"weights": torch.rand(1, 5, 2, 2)}),
    "integer weights": ("weights", {"weights": torch.ones(1, 5, 2, 1, 2, dtype=torch.int64)}),
    "another device": ("weights on meta", {"weights": torch.rand(1, 5, 2, 1, 2, device="meta")}),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_arguments_are_named(what: str) -> None:
    name, change = BAD[what]
    good = {
        "value": torch.rand(1, 12, 2, 3),
        "spatial_shapes": [(3, 4)],
        "locations": torch.rand(1, 5, 2, 1, 2, 2),
        "weights": torch.rand(1, 5, 2, 1, 2),
    }
    with pytest.raises(ValueError, match=f"^ms_deform_attn: .*{name}"):
        ms_deform_attn(**{**good, **change})


@pytest.mark.parametrize("counts", [[5], [6, -1], [2, 2], [1, 2, 2]])
def test_bad_counts_are_named(counts: list[int]) -> None:
    value, locations, weights = case(MANY, [2, 3])
    with pytest.raises(ValueError, match=r"^ms_deform_attn_ragged: counts"):
        ms_deform_attn_ragged(value, MANY, locations, weights, counts)


@pytest.mark.parametrize(
    ("counts", "parts"),
    [([3, 0, 2], [(0, 1, 0, 3), (2, 3, 3, 5)]), ([4, 4, 4], [(0, 3, 0, 12)])],
)
def test_images_with_rows_are_one_part_each_and_alike_ones_together(counts: list[int], parts: list[Any]) -> None:
    rows = sum(counts)
    tensors = torch.zeros(len(counts), 1, 1, 1), torch.zeros(rows, 1, 1, 1, 2), torch.zeros(rows, 1, 1, 1)
    call = MsDeformAttnCall(*tensors, torch.tensor(counts), [1, 1])
    assert [(i.start, i.stop, r.start, r.stop) for i, r in call.dense_parts()] == parts
