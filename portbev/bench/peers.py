"""Other forms of an operator, timed beside ours: what a user would otherwise run.

Those written in plain torch are here. Those of other libraries come from plugins by the hook ``portbev_peers``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from portbev.ops.ms_deform_attn import MS_DEFORM_ATTN, MsDeformAttnCall

Tensors = dict[str, Tensor]


def _present() -> str | None:
    return None


def _always(call: Any) -> str | None:
    return None


def as_it_is(out: Tensor) -> Tensor:
    """The peer's result, which has our layout."""
    return out


@dataclass(frozen=True)
class Prepared:
    """A call in a peer's own layout; bringing it there is not timed.

    Attributes:
        tensors: float tensors by the name of the field that they hold; gradients are taken of these.
        run: computes the result from them.
        ours: the result in our layout, to be compared with ours.
    """

    tensors: Tensors
    run: Callable[[Tensors], Tensor]
    ours: Callable[[Tensor], Tensor] = as_it_is


@dataclass(frozen=True)
class Peer:
    """Returned by the hook ``portbev_peers``.

    Attributes:
        name: what people call it.
        operator: ours that it is a form of.
        prepare: brings a call (on the device, with values) into its layout.
        same: whether it computes the same as ours; if not, ``note`` says what instead.
        probe: None if it can be used in this process, else why not. Nothing is imported before.
        supports: None if it takes a call, else why not.
    """

    name: str
    operator: str
    prepare: Callable[[Any], Prepared]
    same: bool = True
    note: str = ""
    probe: Callable[[], str | None] = _present
    supports: Callable[[Any], str | None] = _always


def dense(call: MsDeformAttnCall) -> tuple[Tensors, Callable[[Tensor], Tensor]]:
    """Deformable attention with as many queries for each image as the longest list has, as libraries take it.

    Returns:
        ``value``, ``locations`` (B,Q,M,L,P,2) and ``weights`` (B,Q,M,L,P); and what brings (B,Q,M*D) to our rows.
    """
    counts = call.counts.tolist()
    images, longest, rows = len(counts), max(counts), sum(counts)
    device = call.value.device
    index = torch.cat([torch.arange(count) + image * longest for image, count in enumerate(counts)]).to(device)

    def padded(tensor: Tensor) -> Tensor:
        if rows == images * longest:
            return tensor.unflatten(0, (images, longest))
        out = tensor.new_zeros(images * longest, *tensor.shape[1:])
        return out.index_copy_(0, index, tensor).unflatten(0, (images, longest))

    tensors = {"value": call.value, "locations": padded(call.locations), "weights": padded(call.weights)}
    return tensors, lambda out: out.flatten(0, 1)[index]


def grid_samples(call: MsDeformAttnCall) -> Prepared:
    """``grid_sample`` level by level, stacked, weighted and summed: deformable attention in plain torch."""
    sizes = list(zip(call.shapes[::2], call.shapes[1::2], strict=True))

    def run(given: Tensors) -> Tensor:
        value, locations, weights = given["value"], given["locations"], given["weights"]
        B, Q, M, L, P, _ = locations.shape
        D, grids, seen = value.shape[3], 2 * locations - 1, []
        for level, (maps, (h, w)) in enumerate(zip(value.split([h * w for h, w in sizes], 1), sizes, strict=True)):
            image = maps.flatten(2).transpose(1, 2).reshape(B * M, D, h, w)
            grid = grids[:, :, :, level].transpose(1, 2).flatten(0, 1).to(image.dtype)
            seen.append(functional.grid_sample(image, grid, padding_mode="zeros", align_corners=False))
        share = weights.transpose(1, 2).reshape(B * M, 1, Q, L * P)
        return (torch.stack(seen, -2).flatten(-2) * share).sum(-1).view(B, M * D, Q).transpose(1, 2)

    tensors, ours = dense(call)
    return Prepared(tensors, run, ours)


def composed(call: Any) -> Prepared:
    """Softmax, locations, padding and ``grid_sample``: what a model does that has no operator for it."""
    names = ("value", "offsets", "logits", "reference")
    tensors: Tensors = {name: getattr(call, name) for name in names}

    def run(given: Tensors) -> Tensor:
        sampled = grid_samples(call._replace(**given).sampling())
        return sampled.ours(sampled.run(sampled.tensors))

    return Prepared(tensors, run)


def unfused(call: Any) -> Prepared:
    """Softmax and locations in plain torch before ``ms_deform_attn``: a layer without the fused operator."""
    names = ("value", "offsets", "logits", "reference")

    def run(given: Tensors) -> Tensor:
        out: Tensor = MS_DEFORM_ATTN(call._replace(**given).sampling())
        return out

    return Prepared({name: getattr(call, name) for name in names}, run)


def padded(call: MsDeformAttnCall) -> Prepared:
    """The same operator over lists that are all as long as the longest."""
    tensors, ours = dense(call)
    images, longest = tensors["locations"].shape[:2]
    counts = torch.full((images,), longest)

    def run(given: Tensors) -> Tensor:
        rows = (given["locations"].flatten(0, 1), given["weights"].flatten(0, 1))
        out: Tensor = MS_DEFORM_ATTN(MsDeformAttnCall(given["value"], *rows, counts, call.shapes))
        return out.unflatten(0, (images, longest))

    return Prepared(tensors, run, ours)


def _ragged(call: MsDeformAttnCall) -> str | None:
    return "every list is as long as the longest" if len(set(call.counts.tolist())) == 1 else None


def plain_convolution(call: Any) -> Prepared:
    """A convolution of that shape whose taps stay where they are."""

    def run(given: Tensors) -> Tensor:
        return functional.conv2d(
            given["input"], given["weight"], given.get("bias"), call.stride, call.padding, call.dilation, call.groups
        )

    names = ("input", "weight") if call.bias is None else ("input", "weight", "bias")
    return Prepared({name: getattr(call, name) for name in names}, run)


def _scatter(rows: Tensor, voxels: Tensor, size: list[int]) -> Tensor:
    """Rows (B,P,C) added to the cells by ``index_add_``."""
    X, Y, Z = size
    ix, iy, iz = voxels.long().unbind(-1)
    inside = (ix >= 0) & (ix < X) & (iy >= 0) & (iy < Y) & (iz >= 0) & (iz < Z)
    sample = torch.arange(len(rows), device=rows.device)[:, None]
    cell = ((sample * Y + iy) * X + ix)[inside]
    out = rows.new_zeros(len(rows) * Y * X, rows.shape[2])
    return out.index_add_(0, cell, rows[inside]).view(len(rows), Y, X, -1)


def scattered(call: Any) -> Prepared:
    """``index_add_`` of the points' features."""
    return Prepared({"features": call.features}, lambda given: _scatter(given["features"], call.voxels, call.size))


def materialised(call: Any) -> Prepared:
    """The features of all points at once, then ``index_add_``."""

    def run(given: Tensors) -> Tensor:
        points = given["depth"][..., None] * given["context"].movedim(2, -1)[:, :, None]
        return _scatter(points.flatten(1, 4), call.voxels.flatten(1, 4), call.size)

    return Prepared({"depth": call.depth, "context": call.context}, run)


def torch_fft(call: Any) -> Prepared:
    """torch's own function."""
    function = torch.fft.ifft if call.inverse else torch.fft.fft
    return Prepared({"input": call.input}, lambda given: function(given["input"], norm=call.norm))


def torch_dropout(call: Any) -> Prepared:
    """A mask that is drawn from the device's generator and kept for the backward."""
    return Prepared({"input": call.input}, lambda given: functional.dropout(given["input"], call.p, training=True))


PLAIN = [
    Peer("grid_sample", "ms_deform_attn", grid_samples, note="padded to the longest list of queries"),
    Peer("ours, padded", "ms_deform_attn", padded, note="to the longest list of queries", supports=_ragged),
    Peer("ms_deform_attn", "deform_attn", unfused, note="softmax and locations by torch, with its gradients"),
    Peer("grid_sample", "deform_attn", composed, note="composed, padded to the longest list of queries"),
    Peer("conv2d", "deform_conv2d", plain_convolution, same=False, note="a plain convolution of that shape"),
    Peer("index_add_", "voxel_pool", scattered),
    Peer("materialised, index_add_", "voxel_pool_lift", materialised),
    Peer("torch.fft", "fft", torch_fft),
    Peer("torch dropout", "dropout", torch_dropout, same=False, note="its mask is drawn, not counted"),
]
"""Peers in plain torch, which are present everywhere."""
