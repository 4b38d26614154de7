"""A traced call with smaller tensors: its result in float64 in a fraction of a second.

An axis is halved wherever its size occurs, the largest first, until the call's tensors and products are within bounds;
those that weights have (channels) come last.
Whether a call of that size exists is asked of torch, on tensors without values.
"""

from __future__ import annotations

import math

import torch
from torch.utils.flop_counter import FlopCounterMode

from portbev.opscheck.calls import TorchCall

ELEMENTS, FLOPS = 1 << 16, 1 << 27
"""Bounds of the elements of a call's tensors, and of its products."""
LEAST = 4
"""No axis becomes shorter."""


def shrunk(call: TorchCall) -> TorchCall:
    """The call within :data:`ELEMENTS` and :data:`FLOPS`, or as near as it can be."""
    fixed: set[int] = set()
    flops = flops_of(call)
    while _elements(call) > ELEMENTS or (flops or 0) > FLOPS:
        sizes = {n for spec in call.specs for n in spec.shape if n >= 2 * LEAST} - fixed
        if not sizes:
            break
        of_weights = {n for spec in call.specs[1:] for n in spec.shape if spec.trained or spec.is_float}
        size = max(sizes - of_weights or sizes)
        less = call.with_shapes({size: size // 2 + (size // 2 > LEAST and size % 2)})
        found = flops_of(less)
        if found is None or less == call:
            fixed.add(size)
        else:
            call, flops = less, found
    return call


def _elements(call: TorchCall) -> int:
    return sum(math.prod(spec.shape) for spec in call.specs)


def flops_of(call: TorchCall) -> int | None:
    """Products of a call; None if there is no such call."""
    device = torch.device("meta")
    tensors = [spec.known if spec.known is not None and spec.on_host else spec.empty() for spec in call.specs]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call.run(tensors, device)
    except Exception:  # whatever a function thinks of sizes that do not fit it
        return None
    return int(counter.get_total_flops())
