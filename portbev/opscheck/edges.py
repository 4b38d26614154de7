"""Elements within rounding of a bilinear cell's edge: they have two right values, and are judged by both.

The gradient of a bilinear sample by its place jumps where the place passes a pixel's centre. A place that is closer to
one than the rounding of its own computation may fall on either side. Such elements are found from the call, and what
they may be from the definition at places moved by that rounding to all four sides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.opscheck.judging import Band
from portbev.opscheck.rounding import Results, unit

ROUNDINGS = 8
"""Of float32, in which kernels compute places: operations that each may round a place by half a unit."""


def bands(
    call: Any, operands: Mapping[str, Tensor], evaluate: Callable[[Mapping[str, Tensor]], Results]
) -> dict[str, Band]:
    """By result, its elements at edges; results without any are left out.

    Args:
        call: the operator's named tuple.
        operands: its float64 tensors.
        evaluate: the definition with its gradients.
    """
    find = _FIND.get(type(call))
    if find is None:
        return {}
    field, at, step = find(call._replace(**operands))
    at = {f"gradient of {name}": mask for name, mask in at.items() if bool(mask.any())}
    if not at:
        return {}
    sides = [
        evaluate({**operands, field: operands[field] + step(torch.tensor(side, dtype=torch.float64))})
        for side in ((0, 0), (-1, -1), (-1, 1), (1, -1), (1, 1))
    ]
    found = {}
    for name, mask in at.items():
        if name in sides[0]:
            values = torch.stack([side[name] for side in sides])
            found[name] = Band(mask.expand(values.shape[1:]), values.amin(0), values.amax(0))
    return found


def _near(place: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Which places (in pixels) are near a pixel's centre, and how far is near."""
    step = ROUNDINGS * unit(torch.float32) * (place.nan_to_num(0.0, 0.0, 0.0).abs() + size)
    return (place - place.round()).abs() <= step, step


def _sizes(shapes: list[int]) -> Tensor:
    """(L, 1, 2) width and height of each level."""
    return torch.tensor(shapes, dtype=torch.float64).view(-1, 2).flip(-1)[:, None]


Found = tuple[str, dict[str, Tensor], Callable[[Tensor], Tensor]]
"""The field that moves places; masks by operand; what is added to the field to move its places to a side (2,)."""


def _attention(call: MsDeformAttnCall) -> Found:
    sizes = _sizes(call.shapes)
    near, step = _near(call.locations * sizes - 0.5, sizes)
    return "locations", {"locations": near}, lambda side: step / sizes * side


def _fused(call: DeformAttnCall) -> Found:
    inner = call.sampling()
    sizes = _sizes(call.shapes)
    near, step = _near(inner.locations * sizes - 0.5, sizes)  # (R, M, L, P, 2)
    query = torch.arange(len(near)) if call.query is None else call.query
    of_queries = torch.zeros(call.offsets.shape, dtype=torch.int64).index_add(0, query, near.long()) > 0
    anchors = call.reference.shape[2]
    points = near.any(1).unflatten(2, (-1, anchors)).any(2)  # (R, L, A, 2)
    if call.reference.shape[1] == 1:
        points = points.any(1, keepdim=True)
    masks = {"offsets": of_queries, "reference": points}
    most = step.amax((0, 1)).expand(call.offsets.shape)  # an offset in pixels moves every row of its query
    return "offsets", masks, lambda side: most * side


def _convolution(call: DeformConv2dCall) -> Found:
    (N, _, H, W), (_, _, kh, kw), G = call.input.shape, call.weight.shape, call.deform_groups
    Ho, Wo = call.offset.shape[2:]
    pairs = call.offset.reshape(N, G, kh, kw, 2, Ho, Wo)
    i, j, k, l = (torch.arange(n, dtype=torch.float64) for n in (Ho, Wo, kh, kw))  # noqa: E741
    y = (call.stride[0] * i - call.padding[0])[:, None] + (call.dilation[0] * k)[:, None, None, None]
    x = (call.stride[1] * j - call.padding[1]) + (call.dilation[1] * l)[:, None, None]
    place = torch.stack([y + pairs[:, :, :, :, 0], x + pairs[:, :, :, :, 1]], 4)  # (N, G, kh, kw, 2, Ho, Wo)
    size = torch.tensor([H, W], dtype=torch.float64)[:, None, None]
    near, step = _near(place, size)
    return (
        "offset",
        {"offset": near.reshape(call.offset.shape)},
        lambda side: (step * side[:, None, None]).reshape(call.offset.shape),
    )


_FIND: dict[type, Callable[[Any], Found]] = {
    MsDeformAttnCall: _attention,
    DeformAttnCall: _fused,
    DeformConv2dCall: _convolution,
}
