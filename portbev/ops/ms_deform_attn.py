"""Multi-scale deformable attention: weighted bilinear samples of feature maps.

Source: Zhu et al., "Deformable DETR" (ICLR 2021), equation 3 without its projections; layouts as in mmcv's
``multi_scale_deformable_attn``. One operator serves both forms below: queries are rows, sorted by image.
The kernels are in :mod:`portbev.ops.ms_deform_attn_reference` and :mod:`portbev_cpu.kernels.ms_deform_attn`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops.ms_deform_attn_reference import reference_backward, reference_forward
from portbev.ops.precision import autocast_to_float32, dispatch, widened

Shapes = Sequence[tuple[int, int]]


def ms_deform_attn(value: Tensor, spatial_shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Every query and head sums ``weights`` times the values at ``locations``, over all levels and points.

    Args:
        value: (B, S, M, D), float: B images, M heads of D channels; S holds the pixels of all levels, level after
            level, row by row.
        spatial_shapes: (h, w) of each of the L levels, Python integers; the sum of h*w is S.
        locations: (B, Q, M, L, P, 2), float: (x, y) of P points per level; (0, 0) is the upper left corner of the
            level and (1, 1) the lower right one.
        weights: (B, Q, M, L, P), float.

    Returns:
        (B, Q, M*D) in the dtype of ``value``.

    Sampling is bilinear as by ``grid_sample`` with ``align_corners=False`` and zero padding: the point lies at
    ``x*w - 0.5``, ``y*h - 0.5`` in pixels whose centres are whole numbers, and pixels outside are zero. A point with a
    NaN or infinite coordinate reads zero and sends no gradient. Values and weights are taken to be finite.
    float16 and bfloat16 values are summed in float32 and rounded once, at the end; locations and weights are taken to
    float32 with them (to float64 with float64 values). Under autocast the result is float32. The kernels of this
    package are deterministic (on CUDA: where ``torch.use_deterministic_algorithms`` is on). Differentiable once.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    name = "ms_deform_attn"
    _need(name, locations.dim() == 6, f"locations are (B, Q, M, L, P, 2), not {tuple(locations.shape)}")
    _need(name, weights.dim() == 5, f"weights are (B, Q, M, L, P), not {tuple(weights.shape)}")
    _check(name, value, spatial_shapes, locations, weights, tuple(locations.shape[:2]))
    images, queries = locations.shape[:2]
    _need(name, images == value.shape[0], f"locations of {images} images for values of {value.shape[0]}")
    out = _run(value, spatial_shapes, locations.flatten(0, 1), weights.flatten(0, 1), [queries] * images)
    return out.unflatten(0, (images, queries))


def ms_deform_attn_ragged(
    value: Tensor, spatial_shapes: Shapes, locations: Tensor, weights: Tensor, counts: Sequence[int]
) -> Tensor:
    """:func:`ms_deform_attn` with a number of queries of its own for each image, without padding.

    Args:
        value: (B, S, M, D), float.
        spatial_shapes: (h, w) of each of the L levels.
        locations: (R, M, L, P, 2), float; the rows of image 0 first, then those of image 1, and so on.
        weights: (R, M, L, P), float.
        counts: how many of the R rows belong to each of the B images, Python integers; zeros are fine.

    Returns:
        (R, M*D) in the dtype of ``value``.

    Raises:
        ValueError: shapes, dtypes, devices or counts that do not fit together.
    """
    name = "ms_deform_attn_ragged"
    _need(name, locations.dim() == 5, f"locations are (R, M, L, P, 2), not {tuple(locations.shape)}")
    _need(name, weights.dim() == 4, f"weights are (R, M, L, P), not {tuple(weights.shape)}")
    _check(name, value, spatial_shapes, locations, weights, (locations.shape[0],))
    counts = [int(count) for count in counts]
    _need(name, len(counts) == value.shape[0], f"counts: {len(counts)} for {value.shape[0]} images")
    _need(name, all(count >= 0 for count in counts), f"counts are at least 0, not {counts}")
    _need(name, sum(counts) == locations.shape[0], f"counts add up to {sum(counts)}, not {locations.shape[0]} rows")
    return _run(value, spatial_shapes, locations, weights, counts)


def _run(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, counts: list[int]) -> Tensor:
    value = autocast_to_float32(value)
    wide = widened(value).dtype  # a location rounded to bfloat16 would be off by pixels
    flat = [int(size) for shape in shapes for size in shape]
    out: Tensor = _op(value, locations.to(wide), weights.to(wide), counts, flat)
    return out


@torch.library.custom_op("portbev::ms_deform_attn", mutates_args=())
def _op(value: Tensor, locations: Tensor, weights: Tensor, counts: list[int], shapes: list[int]) -> Tensor:
    args = (value, locations, weights, counts, shapes)
    result: Tensor = dispatch("ms_deform_attn", "forward", value.device.type, *args)
    return result


@_op.register_fake
def _(value, locations, weights, counts, shapes):  # type: ignore[no-untyped-def]
    return value.new_empty(locations.shape[0], value.shape[2] * value.shape[3])


@torch.library.custom_op("portbev::ms_deform_attn_backward", mutates_args=())
def _op_backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, counts: list[int], shapes: list[int]
) -> tuple[Tensor, Tensor, Tensor]:
    args = (grad, value, locations, weights, counts, shapes)
    result: tuple[Tensor, Tensor, Tensor] = dispatch("ms_deform_attn", "backward", value.device.type, *args)
    return result


@_op_backward.register_fake
def _(grad, value, locations, weights, counts, shapes):  # type: ignore[no-untyped-def]
    return value.new_empty(value.shape), locations.new_empty(locations.shape), weights.new_empty(weights.shape)


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    value, locations, weights, ctx.counts, ctx.shapes = inputs
    ctx.save_for_backward(value, locations, weights)


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    return *_op_backward(grad.contiguous(), *ctx.saved_tensors, ctx.counts, ctx.shapes), None, None


_op.register_autograd(_backward, setup_context=_setup)

KERNELS.add_reference(Kernel("ms_deform_attn", "reference", reference_forward, reference_backward, priority=0))


def _need(name: str, condition: bool, text: str) -> None:
    if not condition:
        raise ValueError(f"{name}: {text}")


def _check(
    name: str, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, queries: tuple[int, ...]
) -> None:
    """What both forms ask of their arguments; ``queries`` are the leading sizes of locations."""
    filled = value.dim() == 4 and min(value.shape[2:]) > 0
    _need(name, filled, f"value is (B, S, M, D) with M and D of at least 1, not {tuple(value.shape)}")
    for label, tensor in (("value", value), ("locations", locations), ("weights", weights)):
        _need(name, tensor.is_floating_point(), f"{label}: float, not {tensor.dtype}")
        _need(name, tensor.device == value.device, f"{label} on {tensor.device}, value on {value.device}")
    _need(name, len(shapes) > 0, "spatial_shapes: at least one level")
    for shape in shapes:
        _need(name, len(shape) == 2 and min(shape) > 0, f"spatial_shapes are (h, w) of at least 1, not {tuple(shape)}")
    pixels = sum(int(h) * int(w) for h, w in shapes)
    _need(name, value.shape[1] == pixels, f"value has {value.shape[1]} pixels, spatial_shapes {pixels}")
    heads, levels = value.shape[2], len(shapes)
    points = locations.shape[-2]
    wanted = (*queries, heads, levels, points)
    _need(name, tuple(locations.shape) == (*wanted, 2), f"locations are {(*wanted, 2)}, not {tuple(locations.shape)}")
    _need(name, tuple(weights.shape) == wanted, f"weights are {wanted}, not {tuple(weights.shape)}")
