"""Calls of ``ms_deform_attn`` as libraries take them: every image of a call has as many queries as the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.precision import widened

Gradients = tuple[Tensor, Tensor, Tensor]


class Dense(NamedTuple):
    """Contiguous arguments in mmcv's layout."""

    value: Tensor  # (B, S, M, D), float32 or float64
    locations: Tensor  # (B, Q, M, L, P, 2)
    weights: Tensor  # (B, Q, M, L, P)


def forward(call: MsDeformAttnCall, run: Callable[[Dense], Tensor]) -> Tensor:
    """Rows (R, M*D) of ``run``, which computes (B, Q, M*D); half precision is taken to float32 and back."""
    out = [run(dense).flatten(0, 1) for _, _, dense in _parts(call)]
    return (out[0] if len(out) == 1 else torch.cat(out)).to(call.value.dtype).contiguous()


def backward(grad_out: Tensor, call: MsDeformAttnCall, run: Callable[[Tensor, Dense], Gradients]) -> Gradients:
    """Gradients by value, locations and weights of ``run``, which takes the gradient by (B, Q, M*D) first."""
    grad_value = torch.zeros_like(call.value, dtype=widened(call.value[:0]).dtype).contiguous()
    grad_locations, grad_weights = (call.locations.new_empty(t.shape) for t in (call.locations, call.weights))
    for images, rows, dense in _parts(call):
        grad = widened(grad_out[rows]).unflatten(0, dense.locations.shape[:2]).contiguous()
        grad_value[images], by_locations, by_weights = run(grad, dense)
        grad_locations[rows], grad_weights[rows] = by_locations.flatten(0, 1), by_weights.flatten(0, 1)
    return grad_value.to(call.value.dtype), grad_locations, grad_weights


@lru_cache(maxsize=64)
def tables(shapes: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Sizes (L, 2) of the levels and the first pixel (L,) of each."""
    sizes = torch.tensor(shapes, dtype=dtype).view(-1, 2)
    area = sizes.prod(1)
    return sizes.to(device), (area.cumsum(0) - area).to(device=device, dtype=dtype)


def empty(call: MsDeformAttnCall) -> str | None:
    """Why a call without any sample is not taken."""
    return "nothing to sample" if 0 in (*call.value.shape, *call.locations.shape) else None


def _parts(call: MsDeformAttnCall) -> Iterator[tuple[slice, slice, Dense]]:
    """Images, rows and arguments: all at once where images have equal counts, else an image at a time."""
    for images, rows in call.dense_parts():
        part = call.part(images, rows)
        lead = (len(part.counts), (rows.stop - rows.start) // len(part.counts))
        locations, weights = (t.unflatten(0, lead).contiguous() for t in (part.locations, part.weights))
        yield images, rows, Dense(widened(part.value).contiguous(), locations, weights)
