"""Multi-scale deformable attention on CPUs: sums of rows by ``embedding_bag``.

The maps of a head are laid out by themselves within a border of zero pixels: no corner needs a bounds check, and
neighbours share cache lines. A query is then a bag of 4*L*P rows. The gradient by the values is the transposed sum, a
bag for every pixel, found by a stable sort: each element is added up by one thread, in one order, for any number of
threads. Heads are taken together where queries are few; an image with fewer corners than pixels is left to the
reference, since it would not repay the layout. Ascend lists no ``embedding_bag``: a kernel for CPUs alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from portbev.kernels import Kernel
from portbev.ops.ms_deform_attn import Level, MsDeformAttnCall
from portbev.ops.precision import widened
from portbev.ops.reference import ms_deform_attn as reference

_TERMS = 1 << 18  # rows read at once in the forward: one for each corner of each point
_SORTED_TERMS = 1 << 20  # the same in the backward, where every piece passes over all pixels
_TABLE_BYTES = 1 << 23


@dataclass(frozen=True)
class _Map:
    """A level of some heads within its border: (heads, h+2, w+2, D), rows of D channels from ``first`` on."""

    level: Level
    heads: int
    first: int

    @property
    def across(self) -> int:
        return self.level.width + 2

    @property
    def rows(self) -> int:
        return self.heads * (self.level.height + 2) * self.across

    def maps(self, table: Tensor) -> Tensor:
        """(heads, h+2, w+2, D) in a table of rows."""
        rows = table[self.first : self.first + self.rows]
        return rows.view(self.heads, self.level.height + 2, self.across, table.shape[1])

    def inner(self, table: Tensor) -> Tensor:
        """The pixels without the border, (h, w, heads, D)."""
        return self.maps(table)[:, 1:-1, 1:-1].permute(1, 2, 0, 3)

    def fill(self, table: Tensor, value: Tensor) -> None:
        """Lay ``value`` (S, heads, D) out in ``table``, with its border."""
        maps = self.maps(table)
        for edge in (maps[:, 0], maps[:, -1], maps[:, :, 0], maps[:, :, -1]):
            edge.zero_()
        self.inner(table).copy_(self.pixels(value))

    def pixels(self, value: Tensor) -> Tensor:
        """This level in ``value`` (S, heads, D), as (h, w, heads, D)."""
        height, width = self.level.height, self.level.width
        return value[self.level.first : self.level.first + height * width].unflatten(0, (height, width))


@dataclass(frozen=True)
class _Points:
    """Points (rows, heads, P) in a map: row of the upper left corner (int32), fractions, and what is inside."""

    map: _Map
    near: Tensor
    y: Tensor
    x: Tensor
    y_inside: Tensor
    x_inside: Tensor

    def write(self, numbers: Tensor, shares: Tensor, attention_weights: Tensor) -> None:
        """Rows and weights of the corners into ``numbers`` and ``shares`` (rows, heads, 4, P)."""
        for corner, step in enumerate((0, 1, self.map.across, self.map.across + 1)):
            torch.add(self.near, step, out=numbers[:, :, corner])
        left = 1 - self.x
        for row, part in enumerate(((1 - self.y).mul_(attention_weights), self.y * attention_weights)):
            torch.mul(part, left, out=shares[:, :, 2 * row])
            torch.mul(part, self.x, out=shares[:, :, 2 * row + 1])


def _points(locations: Tensor, at: _Map) -> _Points:
    y, y_fraction, y_inside = _along(locations[..., 1], at.level.height)
    x, x_fraction, x_inside = _along(locations[..., 0], at.level.width)
    size = (at.level.height + 2) * at.across
    heads = torch.arange(at.heads, dtype=torch.int32)[:, None] * size + (at.first + at.across + 1)
    return _Points(at, y.mul_(at.across).add_(x).add_(heads), y_fraction, x_fraction, y_inside, x_inside)


def _along(positions: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Nearer pixel (-1 to size-1), fraction towards the next, and whether the point touches the map at all."""
    pixel = (positions * size).sub_(0.5)
    inside = (pixel > -1) & (pixel < size)  # false for NaN
    pixel = torch.where(inside, pixel, -1.0)
    near = pixel.floor()
    return near.int(), pixel.sub_(near), inside


def _maps(levels: list[Level], heads: int) -> list[_Map]:
    maps: list[_Map] = []
    for level in levels:
        maps.append(_Map(level, heads, maps[-1].first + maps[-1].rows if maps else 0))
    return maps


def _rows(maps: list[_Map]) -> int:
    return maps[-1].first + maps[-1].rows


def _groups(heads: int, terms: int, table_bytes: int) -> Iterator[slice]:
    """Heads to take together, for ``terms`` and ``table_bytes`` of one head."""
    length = max(1, min(heads, _TERMS // max(1, terms), _TABLE_BYTES // table_bytes))
    for first in range(0, heads, length):
        yield slice(first, min(first + length, heads))


def _blocks(queries: slice, terms_each: int, limit: int) -> Iterator[slice]:
    length = max(1, limit // max(1, terms_each))
    for start in range(queries.start, queries.stop, length):
        yield slice(start, min(start + length, queries.stop))


def forward(call: MsDeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    if all(_few(call, count) for count in call.queries()):
        return reference.forward(call)
    value, locations, weights, _, _ = wide = _widened(call)
    (M, D), (L, P) = value.shape[2:], locations.shape[2:4]
    levels, out = call.levels(), value.new_empty(locations.shape[0], M, D)
    for image, queries in call.images():
        count = queries.stop - queries.start
        if _few(call, count):
            few = reference.forward(wide.part(slice(image, image + 1), queries))
            out[queries] = few.view(-1, M, D)
            continue
        for heads in _groups(M, count * 4 * L * P, _rows(_maps(levels, 1)) * D * value.element_size()):
            G = heads.stop - heads.start
            maps = _maps(levels, G)
            table = value.new_empty(_rows(maps), D)
            for at in maps:
                at.fill(table, value[image, :, heads])
            for block in _blocks(queries, G * 4 * L * P, _TERMS):
                numbers = torch.empty(block.stop - block.start, G, L, 4, P, dtype=torch.int32)
                shares = value.new_empty(numbers.shape)
                for i, at in enumerate(maps):
                    points = _points(locations[block, heads, i], at)
                    points.write(numbers[:, :, i], shares[:, :, i], weights[block, heads, i])
                offsets = torch.arange(0, numbers.numel() + 1, 4 * L * P, dtype=torch.int32)
                out[block, heads] = _bags(table, numbers.view(-1), offsets, shares.view(-1)).view(-1, G, D)
    return out.view(-1, M * D).to(call.value.dtype)


def backward(grad_out: Tensor, call: MsDeformAttnCall) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients by value, locations and weights."""
    if all(_few(call, count) for count in call.queries()):
        return reference.backward(grad_out, call)
    value, locations, weights, _, _ = wide = _widened(call)
    (M, D), P = value.shape[2:], locations.shape[3]
    grad_out = widened(grad_out).reshape(-1, M, D)
    grad_value, grad_locations, grad_weights = (t.new_zeros(t.shape) for t in (value, locations, weights))
    for image, queries in call.images():
        count = queries.stop - queries.start
        if _few(call, count):
            one = slice(image, image + 1)
            few = reference.backward(grad_out[queries], wide.part(one, queries))
            grad_value[one], grad_locations[queries], grad_weights[queries] = few
            continue
        for level in call.levels():
            one_head = _Map(level, 1, 0)
            for heads in _groups(M, count * 4 * P, one_head.rows * D * value.element_size()):
                at = _Map(level, heads.stop - heads.start, 0)
                table = value.new_empty(at.rows, D)
                at.fill(table, value[image, :, heads])
                for block in _blocks(queries, at.heads * 4 * P, _SORTED_TERMS):
                    here = (block, heads, level.number)
                    points, grad_rows = _points(locations[here], at), grad_out[block, heads].reshape(-1, D)
                    numbers = torch.empty(block.stop - block.start, at.heads, 4, P, dtype=torch.int32)
                    shares = value.new_empty(numbers.shape)
                    points.write(numbers, shares, weights[here])
                    dots = _products(table, numbers, grad_rows)
                    _slopes(points, dots, weights[here], grad_locations[here], grad_weights[here])
                    summed = _transposed(numbers, shares, grad_rows, at.rows)
                    at.pixels(grad_value[image, :, heads]).add_(at.inner(summed))
    return (
        grad_value.to(call.value.dtype),
        grad_locations.to(call.locations.dtype),
        grad_weights.to(call.weights.dtype),
    )


def _widened(call: MsDeformAttnCall) -> MsDeformAttnCall:
    """The call in float32 (or float64), locations and weights contiguous."""
    locations, weights = widened(call.locations).contiguous(), widened(call.weights).contiguous()
    return call._replace(value=widened(call.value), locations=locations, weights=weights)


def _few(call: MsDeformAttnCall, queries: int) -> bool:
    """Whether so many ``queries`` read fewer corners than an image has pixels."""
    return queries * 4 * call.locations.shape[2] * call.locations.shape[3] < call.value.shape[1]


def _bags(table: Tensor, numbers: Tensor, offsets: Tensor, shares: Tensor) -> Tensor:
    """Sum of ``shares * table[numbers]`` over each bag; bag i is ``offsets[i]`` to ``offsets[i + 1]``."""
    found: Tensor = torch.embedding_bag(table, numbers, offsets, False, 0, False, shares, include_last_offset=True)[0]
    return found


def _products(table: Tensor, numbers: Tensor, grad_rows: Tensor) -> Tensor:
    """Scalar products of each of ``grad_rows`` with its equally many rows ``numbers`` of ``table``."""
    _first_csr_tensor()
    each = numbers.numel() // len(grad_rows)
    if each > len(table):  # torch counts: a matrix cannot have more entries than places
        table = functional.pad(table, (0, 0, 0, each - len(table)))
    ends, room = torch.arange(0, numbers.numel() + 1, each), table.new_zeros(numbers.numel())
    size = (len(grad_rows), len(table))
    # A row may name a pixel twice, which a strict CSR matrix does not; each entry is computed by itself.
    pattern = torch.sparse_csr_tensor(ends, numbers.view(-1).long(), room, size, check_invariants=False)
    return torch.sparse.sampled_addmm(pattern, grad_rows, table.t(), beta=0).values().view(numbers.shape)


@cache
def _first_csr_tensor() -> None:
    """Take torch's warning, given once in a process, that CSR tensors are in beta state."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.sparse_csr_tensor([0, 0], [], [], (1, 1))


def _slopes(
    points: _Points, dots: Tensor, attention_weights: Tensor, grad_locations: Tensor, grad_weights: Tensor
) -> None:
    """Gradients by the locations and weights from the products ``dots`` (rows, heads, 4, P) of the corners."""
    upper_left, upper_right, lower_left, lower_right = dots.unbind(2)
    level, x, y = points.map.level, points.x, points.y
    upper_step, lower_step = upper_right - upper_left, lower_right - lower_left
    upper, lower = (upper_step * x).add_(upper_left), (lower_step * x).add_(lower_left)
    down = lower.sub_(upper)
    grad_weights.copy_((down * y).add_(upper))
    across = lower_step.sub_(upper_step).mul_(y).add_(upper_step)
    grad_locations[..., 0] = across.mul_(attention_weights).mul_(points.x_inside).mul_(level.width)
    grad_locations[..., 1] = down.mul_(attention_weights).mul_(points.y_inside).mul_(level.height)


def _transposed(numbers: Tensor, shares: Tensor, grad_rows: Tensor, rows: int) -> Tensor:
    """(rows, D): each of ``grad_rows`` times its ``shares``, summed where its ``numbers`` point, in their order."""
    flat = numbers.view(-1)
    order = flat.sort(stable=True).indices
    query = torch.arange(len(grad_rows), dtype=torch.int32).repeat_interleave(flat.numel() // len(grad_rows))
    ends = torch.bincount(flat, minlength=rows).cumsum(0, dtype=torch.int32)
    offsets = torch.cat([ends.new_zeros(1), ends])
    return _bags(grad_rows, query.index_select(0, order), offsets, shares.view(-1).index_select(0, order))


KERNEL = Kernel(
    operator="ms_deform_attn",
    provider="cpu_fast",
    backends=("cpu",),
    forward=forward,
    backward=backward,
    priority=20,
)
