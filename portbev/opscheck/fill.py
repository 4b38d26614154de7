"""Values for the tensors of a traced call: normal numbers, or what the function is made for."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from portbev.opscheck.calls import Place, Spec, TorchCall

Shape = tuple[int, ...]
Draw = Callable[[Shape, torch.Generator], Tensor]


def _normal(shape: Shape, rng: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=rng)


def _between(low: float, high: float) -> Draw:
    return lambda shape, rng: low + (high - low) * torch.rand(shape, generator=rng)


def _wide(shape: Shape, rng: torch.Generator) -> Tensor:
    """Angles of many turns."""
    return 10 * _normal(shape, rng)


def _away(shape: Shape, rng: torch.Generator) -> Tensor:
    """Of both signs, none near zero."""
    drawn = _normal(shape, rng)
    return drawn + drawn.sign() * 0.25


def _near_one(shape: Shape, rng: torch.Generator) -> Tensor:
    return 1 + 0.2 * _normal(shape, rng)


def _distinct(shape: Shape, rng: torch.Generator) -> Tensor:
    """No two neighbours are equal, in any dtype: which of two equal ones is the largest is the device's to choose."""
    coordinates = torch.meshgrid(*(torch.arange(n) for n in shape), indexing="ij")
    primes = (11, 29, 37, 101)
    total = sum((prime * c for prime, c in zip(primes[-len(shape) :], coordinates, strict=False)), torch.zeros(()))
    return total % 199 / 64 - 1.5


_POSITIVE = _between(0.05, 1.5)
FLOATS: dict[tuple[str, str], Draw] = {
    ("log", ""): _POSITIVE,
    ("Tensor.log", ""): _POSITIVE,
    ("Tensor.log1p", ""): _between(-0.5, 2.0),
    ("Tensor.sqrt", ""): _POSITIVE,
    ("sqrt", ""): _POSITIVE,
    ("Tensor.pow", ""): _POSITIVE,
    ("Tensor.__rpow__", ""): _between(-1.0, 1.0),
    ("Tensor.reciprocal", ""): _away,
    ("Tensor.__rtruediv__", ""): _away,
    ("Tensor.div", "other"): _away,
    ("Tensor.div_", "other"): _away,
    ("_foreach_sqrt", ""): _POSITIVE,
    ("_foreach_addcdiv_", ""): _POSITIVE,
    ("_foreach_div_", ""): _away,
    ("batch_norm", "running_mean"): lambda shape, rng: 0.2 * _normal(shape, rng),
    ("batch_norm", "running_var"): _between(0.5, 1.5),
    ("batch_norm", "weight"): _near_one,
    ("layer_norm", "weight"): _near_one,
    ("binary_cross_entropy", "input"): _between(0.02, 0.95),
    ("binary_cross_entropy", "target"): _between(0.0, 0.95),
    ("binary_cross_entropy_with_logits", "target"): _between(0.0, 0.95),
    ("Tensor.sin", ""): _wide,
    ("Tensor.cos", ""): _wide,
    ("max_pool2d", "input"): _distinct,
}
"""By function and argument ("" for all) what floats are drawn; normal numbers elsewhere."""


def fill(call: TorchCall, seed: int) -> list[Tensor]:
    """Values for the tensors of a call, in float32 (complex64, whole numbers) on the host, in their layout."""
    rng = torch.Generator().manual_seed(seed)
    return [_laid_out(spec, _values(call, spec, rng)) for spec in call.specs]


def _values(call: TorchCall, spec: Spec, rng: torch.Generator) -> Tensor:
    if spec.known is not None:
        return spec.known
    if spec.dtype.is_complex:
        return torch.view_as_complex(_normal((*spec.shape, 2), rng)).to(spec.dtype)
    if spec.dtype.is_floating_point:
        draw = FLOATS.get((call.name, spec.label)) or FLOATS.get((call.name, "")) or _normal
        return draw(spec.shape, rng).to(spec.dtype)
    if spec.dtype == torch.bool:
        return torch.rand(spec.shape, generator=rng) < 0.5
    most = _limit(call, spec)
    if call.name == "Tensor.__setitem__" and spec.shape and spec.shape[0] <= most:  # a place is written once
        return torch.randperm(most, generator=rng)[: spec.shape[0]].view(spec.shape).to(spec.dtype)
    return torch.randint(0, most, spec.shape, generator=rng).to(spec.dtype)


def _limit(call: TorchCall, spec: Spec) -> int:
    """Whole numbers of a tensor are below it: an index is one of an axis."""
    first = call.specs[0].shape
    if spec is call.specs[0]:
        return 100
    if call.name in ("Tensor.index_add_", "Tensor.index_select", "Tensor.gather", "gather") and len(call.args) > 1:
        axis = call.args[1]
        return first[axis] if isinstance(axis, int) else min(first)
    if call.name in ("Tensor.__getitem__", "Tensor.__setitem__"):
        index = call.args[1]
        if isinstance(index, Place):
            return first[0]
        return min(first, default=1)
    return 4 if "repeat" in call.name else 100


def _laid_out(spec: Spec, values: Tensor) -> Tensor:
    there = spec.empty("cpu").to(values.dtype)
    return there.copy_(values)
