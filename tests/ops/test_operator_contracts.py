"""What every operator promises: registration, compilation, export, layouts, autocast, determinism."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from portbev.kernels import KERNELS
from portbev.ops import (
    deform_attn,
    deform_attn_ragged,
    deform_conv2d,
    dropout,
    fft,
    ms_deform_attn,
    ms_deform_attn_ragged,
    voxel_pool,
    voxel_pool_lift,
)
from portbev.plugins import plugins

OPS = torch.ops.portbev


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def indices(*shape: int) -> Tensor:
    return torch.randint(-1, 4, (*shape, 3), generator=torch.Generator().manual_seed(9), dtype=torch.int32)


DEFORM = (normal(2, 4, 5, 6), normal(2, 36, 5, 6, seed=1), normal(6, 2, 3, 3, seed=2))
MASK = normal(2, 18, 5, 6, seed=3).sigmoid()
BIAS = normal(6, seed=4)
GEOMETRY = ([1, 1], [1, 1], [1, 1], 2, 2)
POINTS = indices(2, 9)
MAPS = [(3, 4), (2, 2)]
ATTENTION = (normal(2, 16, 2, 3), normal(2, 5, 2, 2, 3, 2, seed=1).sigmoid(), normal(2, 5, 2, 2, 3, seed=2))
COUNTS = torch.tensor([4, 0, 3])
RAGGED = (normal(3, 16, 2, 3), normal(7, 2, 2, 3, 2, seed=1).sigmoid(), normal(7, 2, 2, 3, seed=2))
PREDICTED = (
    normal(2, 16, 2, 3),
    normal(2, 5, 2, 2, 3, 2, seed=1),
    normal(2, 5, 2, 2, 3, seed=2),
    normal(2, 5, 2, 1, 2, seed=3).sigmoid(),
)
PAIRED = (
    normal(3, 16, 2, 3),
    normal(6, 2, 2, 4, 2, seed=1),
    normal(6, 2, 2, 4, seed=2),
    normal(7, 1, 2, 2, seed=3).sigmoid(),
)
QUERY = torch.tensor([5, 1, 1, 2, 0, 5, 2])
DEPTH, CONTEXT, VOXELS = normal(2, 2, 3, 2, 2), normal(2, 2, 5, 2, 2, seed=1), indices(2, 2, 3, 2, 2)

Function = Callable[..., Tensor]
# The reference serves these tests; names that end with "fast" are served by the cpu backend's own kernels.
PUBLIC: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "deform_conv2d v1": (lambda x, o, w: deform_conv2d(x, o, w, padding=1, groups=2, deform_groups=2), DEFORM),
    "deform_conv2d v2": (
        lambda x, o, w, m, b: deform_conv2d(x, o, w, b, m, padding=1, groups=2, deform_groups=2),
        (*DEFORM, MASK, BIAS),
    ),
    "deform_attn": (lambda v, o, g, r: deform_attn(v, MAPS, o, g, r, per_level=True), PREDICTED),
    "deform_attn ragged": (lambda v, o, g, r: deform_attn_ragged(v, MAPS, o, g, r, QUERY, [4, 0, 3]), PAIRED),
    "ms_deform_attn": (lambda v, x, w: ms_deform_attn(v, MAPS, x, w), ATTENTION),
    "ms_deform_attn ragged": (lambda v, x, w: ms_deform_attn_ragged(v, MAPS, x, w, [4, 0, 3]), RAGGED),
    "voxel_pool": (lambda f: voxel_pool(f, POINTS, (3, 2, 2)), (normal(2, 9, 4),)),
    "voxel_pool_lift": (lambda d, c: voxel_pool_lift(d, c, VOXELS, (3, 2, 2)), (DEPTH, CONTEXT)),
    "fft": (lambda x: torch.view_as_real(fft(x, dim=1)), (normal(3, 8),)),
    "dropout": (lambda x: dropout(x, 0.5, training=True, seed=1, site=2, step=3), (normal(3, 4, 5),)),
}

SERVED_BY_FAST = ("deform_attn", "deform_attn ragged", "ms_deform_attn", "ms_deform_attn ragged")
PUBLIC |= {f"{name} fast": PUBLIC[name] for name in SERVED_BY_FAST}

LOW_LEVEL: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "deform_conv2d v1": (OPS.deform_conv2d, (*DEFORM, None, None, *GEOMETRY)),
    "deform_conv2d v2": (OPS.deform_conv2d, (*DEFORM, MASK, BIAS, *GEOMETRY)),
    "deform_conv2d one image": (
        OPS.deform_conv2d,
        (normal(1, 3, 4, 4), normal(1, 2, 4, 4), normal(2, 3, 1, 1), None, None, [1, 1], [0, 0], [1, 1], 1, 1),
    ),
    "deform_conv2d_backward v1": (OPS.deform_conv2d_backward, (normal(2, 6, 5, 6), *DEFORM, None, *GEOMETRY)),
    "deform_conv2d_backward v2": (OPS.deform_conv2d_backward, (normal(2, 6, 5, 6), *DEFORM, MASK, *GEOMETRY)),
    "deform_attn": (OPS.deform_attn, (*PAIRED, QUERY, COUNTS, [3, 4, 2, 2], False, False)),
    "deform_attn_backward": (
        OPS.deform_attn_backward,
        (normal(7, 6), *PAIRED, QUERY, COUNTS, [3, 4, 2, 2], False, True),
    ),
    "deform_attn_backward without the reference's": (
        OPS.deform_attn_backward,
        (normal(7, 6), *PAIRED, QUERY, COUNTS, [3, 4, 2, 2], True, False),
    ),
    "ms_deform_attn": (OPS.ms_deform_attn, (*RAGGED, COUNTS, [3, 4, 2, 2])),
    "ms_deform_attn_backward": (
        OPS.ms_deform_attn_backward,
        (normal(7, 6), *RAGGED, COUNTS, [3, 4, 2, 2]),
    ),
    "voxel_pool": (OPS.voxel_pool, (normal(2, 9, 4), indices(2, 9), [3, 2, 2])),
    "voxel_pool_backward": (OPS.voxel_pool_backward, (normal(2, 2, 3, 4), indices(2, 9), [3, 2, 2])),
    "voxel_pool_lift": (OPS.voxel_pool_lift, (DEPTH, CONTEXT, VOXELS, [3, 2, 2])),
    "voxel_pool_lift_backward": (
        OPS.voxel_pool_lift_backward,
        (normal(2, 2, 3, 5), DEPTH, CONTEXT, VOXELS, [3, 2, 2]),
    ),
    "fft of reals": (OPS.fft, (normal(3, 4), False, "ortho")),
    "fft of complex": (OPS.fft, (normal(3, 4, dtype=torch.complex64), True, "backward")),
    "dropout": (OPS.dropout, (normal(3, 5), 0.5, 1, 2, 3, 6)),
}
LOW_LEVEL |= {f"{name} fast": LOW_LEVEL[name] for name in LOW_LEVEL if "deform_attn" in name}


@pytest.fixture(autouse=True)
def serving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernels that a test's name asks for."""
    callspec = getattr(request.node, "callspec", None)
    fast = callspec is not None and str(callspec.params.get("name", "")).endswith("fast")
    monkeypatch.setattr(KERNELS, "_active", KERNELS.rank("cpu", plugins().kernels()) if fast else {})


def _float(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def with_gradients(tensors: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(t.clone().requires_grad_() if _float(t) else t for t in tensors)


def values_and_gradients(function: Function, tensors: tuple[Tensor, ...]) -> list[Tensor]:
    inputs = with_gradients(tensors)
    out = function(*inputs)
    return [out, *torch.autograd.grad(out.square().sum(), inputs)]


def test_every_operator_of_the_package_is_listed_here() -> None:
    assert {name.split()[0] for name in PUBLIC} == set(KERNELS.references)


@pytest.mark.parametrize("name", LOW_LEVEL)
def test_opcheck(name: str) -> None:
    operator, arguments = LOW_LEVEL[name]
    inputs = arguments if "backward" in name else with_gradients(arguments)
    torch.library.opcheck(operator, inputs)


@pytest.mark.parametrize("name", LOW_LEVEL)
def test_results_are_contiguous_as_compiled_code_expects(name: str) -> None:
    operator, arguments = LOW_LEVEL[name]
    results = operator(*arguments)
    for result in results if isinstance(results, tuple) else (results,):
        assert result.is_contiguous()


@pytest.mark.parametrize("name", PUBLIC)
def test_compiles_as_one_graph_with_equal_values_and_gradients(name: str) -> None:
    function, tensors = PUBLIC[name]
    compiled = torch.compile(function, fullgraph=True, backend="aot_eager")
    for one, other in zip(
        values_and_gradients(function, tensors), values_and_gradients(compiled, tensors), strict=True
    ):
        assert torch.equal(one, other)


def test_a_compiled_dropout_follows_the_step() -> None:
    def at(x: Tensor, step: int) -> Tensor:
        return dropout(x, 0.5, training=True, seed=1, site=2, step=step)

    compiled = torch.compile(at, fullgraph=True, backend="aot_eager")
    x = torch.ones(64)
    for step in (0, 1, 2, 2**31 + 5):
        assert torch.equal(compiled(x, step), at(x, step))


@pytest.mark.parametrize("name", PUBLIC)
def test_exports(name: str) -> None:
    function, tensors = PUBLIC[name]

    class Model(nn.Module):
        def forward(self, *inputs: Tensor) -> Tensor:
            return function(*inputs)

    program = torch.export.export(Model(), tensors)
    assert any(f"portbev.{name.split(maxsplit=1)[0]}." in str(node.target) for node in program.graph.nodes)
    assert torch.equal(program.module()(*tensors), function(*tensors))


DYNAMIC: dict[str, tuple[Function, tuple[int, ...]]] = {
    # the arguments of PUBLIC whose first axis is the batch, with what else of the call depends on its size
    "deform_conv2d v1": (lambda x, o, w: deform_conv2d(x, o, w, padding=1, groups=2, deform_groups=2), (0, 1)),
    "deform_conv2d v2": (
        lambda x, o, w, m, b: deform_conv2d(x, o, w, b, m, padding=1, groups=2, deform_groups=2),
        (0, 1, 3),
    ),
    "deform_attn": (lambda v, o, g, r: deform_attn(v, MAPS, o, g, r, per_level=True), (0, 1, 2, 3)),
    "ms_deform_attn": (lambda v, x, w: ms_deform_attn(v, MAPS, x, w), (0, 1, 2)),
    "voxel_pool": (lambda f, i: voxel_pool(f, i, (3, 2, 2)), (0, 1)),
    "voxel_pool_lift": (lambda d, c, i: voxel_pool_lift(d, c, i, (3, 2, 2)), (0, 1, 2)),
    "fft": (lambda x: torch.view_as_real(fft(x, dim=1)), (0,)),
    "dropout": (lambda x: dropout(x, 0.5, training=True, seed=1, site=2, step=3), (0,)),
}
MORE = {"voxel_pool": (POINTS,), "voxel_pool_lift": (VOXELS,)}


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("name", [*DYNAMIC, "ms_deform_attn fast"])
def test_exports_with_a_batch_of_any_size(name: str, strict: bool) -> None:
    function, batched = DYNAMIC[name.removesuffix(" fast")]
    tensors = (*PUBLIC[name][1], *MORE.get(name, ()))

    class Model(nn.Module):
        def forward(self, inputs: list[Tensor]) -> Tensor:
            return function(*inputs)

    def of_size(batch: int) -> list[Tensor]:
        return [
            torch.cat([tensor] * batch)[:batch].contiguous() if index in batched else tensor
            for index, tensor in enumerate(tensors)
        ]

    size = torch.export.Dim("batch", min=1, max=64)
    shapes = [{0: size} if index in batched else None for index in range(len(tensors))]
    program = torch.export.export(Model(), (of_size(2),), dynamic_shapes=(shapes,), strict=strict)
    assert any(f"portbev.{name.split(maxsplit=1)[0]}." in str(node.target) for node in program.graph.nodes)
    for batch in (1, 2, 5):
        assert torch.equal(program.module()(of_size(batch)), function(*of_size(batch)))


def test_ragged_attention_exports_with_a_tensor_of_counts_for_any_images_and_queries() -> None:
    class Model(nn.Module):
        def forward(self, v: Tensor, x: Tensor, w: Tensor, counts: Tensor) -> Tensor:
            return ms_deform_attn_ragged(v, MAPS, x, w, counts)

    images, rows = torch.export.Dim("images", min=1, max=64), torch.export.Dim("rows", max=1000)
    program = torch.export.export(
        Model(), (*RAGGED, torch.tensor([4, 0, 3])), dynamic_shapes=({0: images}, {0: rows}, {0: rows}, {0: images})
    )
    value, locations, weights = RAGGED
    for counts in ([4, 0, 3], [1, 4], [5]):
        few = value[: len(counts)], locations[: sum(counts)], weights[: sum(counts)]
        found = program.module()(*few, torch.tensor(counts))
        assert torch.equal(found, ms_deform_attn_ragged(few[0], MAPS, *few[1:], counts))


@pytest.mark.parametrize("counts", [torch.tensor([4, 0, 2]), torch.tensor([8, -1, 0]), torch.tensor([4.0, 0, 3])])
def test_a_tensor_of_counts_that_does_not_fit_the_rows_is_told(counts: Tensor) -> None:
    value, locations, weights = RAGGED
    with pytest.raises(ValueError, match=r"^ms_deform_attn_ragged: counts"):
        ms_deform_attn_ragged(value, MAPS, locations, weights, counts)


def strided(tensor: Tensor) -> Tensor:
    """Equal values, every other element of a larger tensor, axes stored in the opposite order."""
    room = torch.full((*(2 * n for n in reversed(tensor.shape)),), torch.nan, dtype=tensor.dtype)
    view = room[tuple(slice(None, None, 2) for _ in tensor.shape)].permute(*reversed(range(tensor.dim())))
    view.copy_(tensor)
    assert not view.is_contiguous()
    return view


@pytest.mark.parametrize("name", PUBLIC)
def test_strides_of_inputs_and_gradients_do_not_matter(name: str) -> None:
    function, tensors = PUBLIC[name]
    views = tuple(strided(t) for t in tensors)
    inputs = tuple(v.requires_grad_() for v in views)
    out = function(*inputs)
    expected = values_and_gradients(function, tensors)
    assert torch.equal(out, expected[0])
    gradients = torch.autograd.grad(out, inputs, strided(2 * out.detach()))
    for one, other in zip(gradients, expected[1:], strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


LARGE: dict[str, tuple[Function, tuple[Tensor, ...]]] = {
    "deform_conv2d": (
        lambda x, o, w: deform_conv2d(x, o, w, padding=1),
        (normal(1, 64, 20, 24), normal(1, 18, 20, 24), normal(64, 64, 3, 3)),
    ),
    "deform_attn": (
        lambda v, o, g: deform_attn_ragged(
            v, [(40, 50), (9, 7)], o, g, normal(1805, 1, 2, 2).sigmoid(), torch.arange(1805) % 1100, [700, 5, 1100]
        ),
        (normal(3, 2063, 4, 16), 3 * normal(1100, 4, 2, 4, 2, seed=1), normal(1100, 4, 2, 4, seed=2)),
    ),
    "ms_deform_attn": (
        lambda v, x, w: ms_deform_attn_ragged(v, [(40, 50), (9, 7)], x, w, [700, 5, 1100]),
        (normal(3, 2063, 4, 16), normal(1805, 4, 2, 4, 2, seed=1).sigmoid(), normal(1805, 4, 2, 4, seed=2)),
    ),
    "voxel_pool": (lambda f: voxel_pool(f, indices(2, 20_000), (3, 2, 2)), (normal(2, 20_000, 16),)),
    "voxel_pool_lift": (
        lambda d, c: voxel_pool_lift(d, c, indices(1, 2, 20, 16, 20), (3, 2, 2)),
        (normal(1, 2, 20, 16, 20), normal(1, 2, 16, 16, 20)),
    ),
    "fft": (lambda x: torch.view_as_real(fft(x)), (normal(64, 1024),)),
    "dropout": (lambda x: dropout(x, 0.5, training=True, seed=1, site=2, step=3), (normal(50_000),)),
}
LARGE |= {f"{name} fast": LARGE[name] for name in ("deform_attn", "ms_deform_attn")}


# Products of matrices and transforms are a library's, which may share out, and so round, otherwise for more threads.
BY_LIBRARY = {"deform_conv2d", "fft"}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", LARGE)
def test_equal_bits_for_any_number_of_threads(name: str) -> None:
    function, tensors = LARGE[name]
    torch.set_num_threads(1)
    alone = values_and_gradients(function, tensors)
    for count in (1, 2, 3):
        torch.set_num_threads(count)
        first, again = values_and_gradients(function, tensors), values_and_gradients(function, tensors)
        for one, other, repeated in zip(alone, first, again, strict=True):
            assert torch.equal(other, repeated), f"two runs with {count} threads"
            if name in BY_LIBRARY:
                torch.testing.assert_close(other, one, rtol=1e-5, atol=1e-5 * float(one.detach().abs().max()))
            else:
                assert torch.equal(one, other)


@pytest.mark.parametrize("name", LARGE)
def test_every_operator_works_in_deterministic_mode(name: str) -> None:
    function, tensors = LARGE[name]
    plain = values_and_gradients(function, tensors)
    torch.use_deterministic_algorithms(True)
    try:
        strict = values_and_gradients(function, tensors)
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(plain, strict, strict=True):
        torch.testing.assert_close(one, other)
