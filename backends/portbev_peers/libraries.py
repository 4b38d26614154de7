"""torchvision's, mmcv's and deformops' forms of our operators.

Layouts: ``torchvision.ops.deform_conv2d``, ``mmcv.ops.modulated_deform_conv2d`` (mmcv 2), mmcv's
``MultiScaleDeformableAttnFunction``, ``deformops.registry`` (deformops 3).
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from portbev.bench.peers import Peer, Prepared, Tensors, dense

IM2COL_STEP = 64
"""Images at a time in mmcv's attention, as Deformable DETR has it; larger than the batch means all of them."""


def importable(module: str, attribute: str) -> Callable[[], str | None]:
    """A probe: None if the module can be imported and has the attribute."""

    def probe() -> str | None:
        try:
            found = importlib.import_module(module)
        except Exception as error:
            first = (str(error).strip() or type(error).__name__).splitlines()[0]
            return first if isinstance(error, ModuleNotFoundError) else f"{module} cannot be imported: {first}"
        return None if hasattr(found, attribute) else f"{module} has no {attribute}"

    return probe


def _levels(call: Any) -> tuple[Tensor, Tensor]:
    """Sizes (L,2) of the levels and their first pixels (L,), int64 on the device."""
    sizes = torch.tensor(call.shapes, dtype=torch.int64, device=call.value.device).view(-1, 2)
    area = sizes.prod(1)
    return sizes, area.cumsum(0) - area


def mmcv_attention(call: Any) -> Prepared:
    """mmcv's compiled function, which is for accelerators."""
    function = importlib.import_module("mmcv.ops.multi_scale_deform_attn").MultiScaleDeformableAttnFunction
    sizes, first = _levels(call)
    tensors, ours = dense(call)

    def run(given: Tensors) -> Tensor:
        out: Tensor = function.apply(given["value"], sizes, first, given["locations"], given["weights"], IM2COL_STEP)
        return out

    return Prepared(tensors, run, ours)


def deformops_attention(call: Any) -> Prepared:
    """deformops' choice of its kernels."""
    msda = importlib.import_module("deformops.registry").msda
    sizes, first = _levels(call)
    tensors, ours = dense(call)

    def run(given: Tensors) -> Tensor:
        out: Tensor = msda(given["value"], sizes, first, given["locations"], given["weights"])
        return out

    return Prepared(tensors, run, ours)


def _convolution(call: Any, apply: Callable[[Tensors], Tensor]) -> Prepared:
    names = ("input", "offset", "weight", "mask", "bias")
    return Prepared({name: value for name in names if (value := getattr(call, name)) is not None}, apply)


def torchvision_convolution(call: Any) -> Prepared:
    """torchvision reads groups and groups of offsets from the shapes."""
    function = importlib.import_module("torchvision.ops").deform_conv2d

    def run(given: Tensors) -> Tensor:
        out: Tensor = function(
            given["input"],
            given["offset"],
            given["weight"],
            given.get("bias"),
            tuple(call.stride),
            tuple(call.padding),
            tuple(call.dilation),
            given.get("mask"),
        )
        return out

    return _convolution(call, run)


def mmcv_convolution(call: Any) -> Prepared:
    """mmcv's version 1 without a mask, version 2 with one."""
    module = importlib.import_module("mmcv.ops")
    pairs = tuple(call.stride), tuple(call.padding), tuple(call.dilation), call.groups, call.deform_groups
    step = math.gcd(32, call.input.shape[0])  # images at a time, which must divide the batch

    def run(given: Tensors) -> Tensor:
        inputs = given["input"], given["offset"]
        if call.mask is None:
            out: Tensor = module.deform_conv2d(*inputs, given["weight"], *pairs, False, step)
            return out if call.bias is None else out + given["bias"][:, None, None]
        modulated: Tensor = module.modulated_deform_conv2d(
            *inputs, given["mask"], given["weight"], given.get("bias"), *pairs
        )
        return modulated

    return _convolution(call, run)


def deformops_convolution(call: Any) -> Prepared:
    """deformops' choice of its kernels, on channels-last images, offsets and masks."""
    conv = importlib.import_module("deformops.registry").conv
    last = {name: getattr(call, name).movedim(1, -1).contiguous() for name in ("input", "offset")}
    last["offset"] = last["offset"].unflatten(-1, (call.deform_groups, -1, 2))
    if call.mask is not None:
        last["mask"] = call.mask.movedim(1, -1).contiguous().unflatten(-1, (call.deform_groups, -1))
    plain = {name: value for name in ("weight", "bias") if (value := getattr(call, name)) is not None}

    def run(given: Tensors) -> Tensor:
        out: Tensor = conv(
            given["input"],
            given["offset"],
            given["weight"],
            given.get("bias"),
            given.get("mask"),
            tuple(call.stride),
            tuple(call.padding),
            tuple(call.dilation),
            groups=call.groups,
            offset_groups=call.deform_groups,
        )
        return out

    return Prepared({**last, **plain}, run, lambda out: out.movedim(-1, 1))


def _on_an_accelerator(call: Any) -> str | None:
    return "is for accelerators" if call.value.device.type == "cpu" else None


PEERS = [
    Peer("torchvision", "deform_conv2d", torchvision_convolution, probe=importable("torchvision.ops", "deform_conv2d")),
    Peer("mmcv, directly", "deform_conv2d", mmcv_convolution, probe=importable("mmcv.ops", "modulated_deform_conv2d")),
    Peer("deformops, directly", "deform_conv2d", deformops_convolution, probe=importable("deformops.registry", "conv")),
    Peer(
        "mmcv, padded",
        "ms_deform_attn",
        mmcv_attention,
        note="to the longest list of queries",
        probe=importable("mmcv.ops.multi_scale_deform_attn", "MultiScaleDeformableAttnFunction"),
        supports=_on_an_accelerator,
    ),
    Peer(
        "deformops, padded",
        "ms_deform_attn",
        deformops_attention,
        note="to the longest list of queries",
        probe=importable("deformops.registry", "msda"),
    ),
]
