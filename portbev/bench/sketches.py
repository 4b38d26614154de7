"""What ``portbev bench`` has to know of each operator: values that look like a model's, and its FLOPs.

A multiplication and an addition are a FLOP each. FLOPs of addresses, and integer arithmetic, are not counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from portbev.errors import PortbevError

Fill = Callable[[Any, torch.Generator], Tensor]
"""Values for a field of a call, whose tensors are on ``meta``; on the host, in the field's dtype."""

CORNERS = 4
"""Pixels of a bilinear sample."""


@dataclass(frozen=True)
class Sketch:
    """What is known of an operator.

    Attributes:
        forward: FLOPs of a call.
        backward: FLOPs of its backward for the gradients of some fields.
        fill: field -> its values. Floats are normal numbers by default; other fields must be known or filled.
        matrix: whether the FLOPs are products of matrices, for which devices have units of their own.
        halved: fields that the operator takes in half precision when the model computes in it.
        ignored: fields without influence on the cost.
        inside: calls of other operators that a composition of a call consists of; they are measured as well.
    """

    forward: Callable[[Any], int]
    backward: Callable[[Any, tuple[str, ...]], int]
    fill: Mapping[str, Fill] = field(default_factory=dict)
    matrix: bool = False
    halved: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    inside: Callable[[Any], dict[str, Any]] = lambda call: {}


def sketch_of(operator: str) -> Sketch:
    """The sketch of an operator.

    Raises:
        PortbevError: it has none yet.
    """
    if operator not in SKETCHES:
        raise PortbevError("this operator has no sketch", where=operator, cure="Add one in portbev/bench/sketches.py")
    return SKETCHES[operator]


def _normal(shape: Any, rng: torch.Generator) -> Tensor:
    return torch.randn(*shape, generator=rng)


def _shares(tensor: Tensor, over: int, rng: torch.Generator) -> Tensor:
    """Numbers above 0 whose sum over the last ``over`` axes is 1."""
    return _normal(tensor.shape, rng).flatten(-over).softmax(-1).view(tensor.shape)


# Deformable attention: each sample reads four pixels of every channel and adds them, weighted, to the result.


def raster(count: int) -> Tensor:
    """(count, 2) places (x, y) from 0 to 1, row by row: neighbouring queries look at neighbouring places."""
    side = max(1, math.ceil(count**0.5))
    index = torch.arange(count)
    return torch.stack([(index % side + 0.5) / side, (index // side + 0.5) / side], -1)


def _locations(call: Any, rng: torch.Generator) -> Tensor:
    """Around the places of the queries, with a deviation of three pixels of each level."""
    sizes = torch.tensor(call.shapes, dtype=torch.float32).view(-1, 2).flip(-1)  # (L, 2) as (w, h)
    spread = 3 * _normal(call.locations.shape, rng) / sizes[:, None]
    return spread + torch.cat([raster(count) for count in call.counts.tolist()])[:, None, None, None]


def _attention_forward(call: Any) -> int:
    """Per sample: the shares of four corners; for each channel four products and sums, and the weight."""
    samples, channels = call.weights.numel(), call.value.shape[-1]
    return int(samples * (12 + channels * (2 * CORNERS + 1)))


def _attention_backward(call: Any, trained: tuple[str, ...]) -> int:
    """Per sample and channel: four products into the value's gradient, and the slopes along x, y and the weight."""
    samples, channels = call.weights.numel(), call.value.shape[-1]
    value = 2 * CORNERS if "value" in trained else 0
    places = 2 * CORNERS + 3 * 2 if {"locations", "weights"} & set(trained) else 0
    return int(samples * (12 + channels * (value + places)))


def _fused_forward(call: Any) -> int:
    """Besides: a softmax of each query's logits, and the locations of each row."""
    samples = call.reference.shape[0] * call.logits[0].numel()
    return _sampling(call, _attention_forward) + int(5 * call.logits.numel() + 4 * samples)


def _fused_backward(call: Any, trained: tuple[str, ...]) -> int:
    """Besides: the softmax once more and its slope."""
    names = {"value": ("value",), "offsets": ("locations",), "logits": ("weights",), "reference": ("locations",)}
    inner = tuple(sorted({name for field in trained for name in names[field]}))
    return _sampling(call, lambda sampling: _attention_backward(sampling, inner)) + int(9 * call.logits.numel())


def _sampling(call: Any, flops: Callable[[Any], int]) -> int:
    """Of the sampling alone, whose calls have locations and weights of each row."""
    return flops(call._replace(**{name: value.to("meta") for name, value in _tensors(call).items()}).sampling())


def _tensors(call: Any) -> dict[str, Tensor]:
    return {
        name: value for name, value in call._asdict().items() if isinstance(value, Tensor) and value.is_floating_point()
    }


def _reference(call: Any, rng: torch.Generator) -> Tensor:
    """The places of the queries, the same on all levels and for all anchors."""
    places = torch.cat([raster(count) for count in call.counts.tolist()])
    return places[:, None, None].expand(call.reference.shape).contiguous()


def _queries(call: Any, rng: torch.Generator) -> Tensor:
    """Of each image's rows, ascending."""
    queries = call.logits.shape[0]
    return torch.cat([torch.arange(count) * queries // max(count, 1) for count in call.counts.tolist()])


# Deformable convolution: a product of matrices over sampled pixels.


def _products(call: Any) -> int:
    """Of the convolution's product of matrices."""
    taps = call.weight.shape[1] * call.weight.shape[2] * call.weight.shape[3]
    pixels = call.offset.shape[0] * call.offset.shape[2] * call.offset.shape[3]
    return int(2 * pixels * call.weight.shape[0] * taps)


def _samples(call: Any) -> int:
    """Sampled values: every tap of every input channel."""
    pixels = call.offset.shape[0] * call.offset.shape[2] * call.offset.shape[3]
    return int(pixels * call.input.shape[1] * call.weight.shape[2] * call.weight.shape[3])


def _convolution_backward(call: Any, trained: tuple[str, ...]) -> int:
    """Products for the samples' and the weight's gradients; scattering to the image; slopes along x, y and the mask."""
    sampled = {"input", "offset", "mask"} & set(trained)
    products = (bool(sampled) + ("weight" in trained)) * _products(call)
    scattered = 2 * CORNERS * ("input" in trained) + (2 * CORNERS + 3 * 2) * bool({"offset", "mask"} & set(trained))
    return products + _samples(call) * (2 * CORNERS + scattered)


# Pooling: a sum per point and channel.


def _voxels(call: Any, rng: torch.Generator) -> Tensor:
    """Cells of a grid and a quarter around it."""
    axes = [torch.randint(-n // 8, n + n // 8 + 1, call.voxels.shape[:-1], generator=rng) for n in call.size]
    return torch.stack(axes, -1).int()


def _transform(call: Any) -> int:
    """Of a fast Fourier transform (5 n log2 n, half of it for real input)."""
    n = call.input.shape[-1]
    return int((5 if call.input.is_complex() else 2.5) * call.input.numel() * math.log2(max(n, 2)))


SKETCHES: dict[str, Sketch] = {
    "ms_deform_attn": Sketch(
        _attention_forward,
        _attention_backward,
        fill={"locations": _locations, "weights": lambda call, rng: _shares(call.weights, 2, rng)},
        halved=("value",),
    ),
    "deform_attn": Sketch(
        _fused_forward,
        _fused_backward,
        fill={
            "offsets": lambda call, rng: 3 * _normal(call.offsets.shape, rng),
            "reference": _reference,
            "query": _queries,
        },
        halved=("value", "offsets", "logits"),
        ignored=("reference_gradient",),
        inside=lambda call: {"ms_deform_attn": call.sampling()},
    ),
    "deform_conv2d": Sketch(
        lambda call: _products(call) + _samples(call) * (2 * CORNERS + (call.mask is not None)),
        _convolution_backward,
        fill={
            "offset": lambda call, rng: 2 * _normal(call.offset.shape, rng),
            "weight": lambda call, rng: _normal(call.weight.shape, rng) / math.sqrt(call.weight[0].numel()),
            "mask": lambda call, rng: _normal(call.mask.shape, rng).sigmoid(),
        },
        matrix=True,
        halved=("input", "offset", "weight", "mask", "bias"),
    ),
    "voxel_pool": Sketch(
        lambda call: int(call.features.numel()), lambda call, trained: 0, fill={"voxels": _voxels}, halved=("features",)
    ),
    "voxel_pool_lift": Sketch(
        lambda call: int(2 * call.depth.numel() * call.context.shape[2]),
        lambda call, trained: int(2 * len(trained) * call.depth.numel() * call.context.shape[2]),
        fill={"voxels": _voxels, "depth": lambda call, rng: _normal(call.depth.shape, rng).softmax(2)},
        halved=("depth", "context"),
    ),
    "fft": Sketch(_transform, lambda call, trained: _transform(call)),
    "dropout": Sketch(
        lambda call: int(call.input.numel()),
        lambda call, trained: int(call.input.numel()),
        halved=("input",),
        ignored=("seed", "site", "step", "first"),
    ),
}


def values(operator: str, call: Any, known: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype) -> Any:
    """``call`` with values on ``device``; what can be in half precision is in ``dtype``.

    Raises:
        PortbevError: a field of whole numbers has no values.
    """
    sketch, rng = sketch_of(operator), torch.Generator().manual_seed(0)
    filled = {}
    for name, value in call._asdict().items():
        if not isinstance(value, Tensor) or value.device.type != "meta":
            continue
        if name in known:
            made = known[name]
        elif name in sketch.fill:
            made = sketch.fill[name](call, rng)
        elif value.is_complex():
            made = torch.view_as_complex(_normal((*value.shape, 2), rng))
        elif value.is_floating_point():
            made = _normal(value.shape, rng)
        else:
            raise PortbevError(f"nothing says what {name} holds", where=operator, cure="Fill it in SKETCHES")
        filled[name] = made.to(device=device, dtype=dtype if name in sketch.halved else value.dtype)
    return call._replace(**filled)
