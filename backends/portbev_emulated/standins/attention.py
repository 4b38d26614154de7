"""Stand-in for the deformable attention of ``mx_driving``, as its wheels 26.1.0 and 26.2.0 have it for Atlas A2."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev_cpu.kernels import ms_deform_attn as ms_deform_attn_cpu
from portbev_emulated.standins import reference
from portbev_emulated.standins.checks import require, tensor

FLOAT, INT = torch.float32, torch.int32


class _MultiScaleDeformableAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *arguments: Any) -> Any:
        call = _checked("multi_scale_deformable_attn", *arguments)
        value, shapes, starts, *rest = arguments
        ctx.save_for_backward(value, shapes.int(), starts.int(), *rest)
        rows = reference.on_host(ms_deform_attn_cpu.forward, call)
        return rows.view(*arguments[3].shape[:2], -1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        value, shapes, starts, locations, weights = ctx.saved_tensors
        found = multi_scale_deformable_attn_backward(value, shapes, starts, locations, weights, grad.contiguous())
        return found[0], None, None, found[1], found[2]


def multi_scale_deformable_attn(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    /,
) -> Any:
    """value (B,S,M,D), shapes (L,2) [h,w] and starts (L,) int, locations (B,Q,M,L,P,2) [x,y], weights (B,Q,M,L,P), all
    float16 or all float32 -> (B,Q,M*D)."""
    return _MultiScaleDeformableAttention.apply(
        value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights
    )


def multi_scale_deformable_attn_backward(
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    grad_output: Tensor,
    /,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights; grad_output (B,Q,M*D). Needs no result of the forward."""
    name = "multi_scale_deformable_attn_backward"
    where = (value, value_spatial_shapes, value_level_start_index, sampling_locations, attention_weights)
    require(value_spatial_shapes.dtype == INT, name, "value_spatial_shapes must be int32")
    call = _checked(name, *where)
    batch, queries = sampling_locations.shape[:2]
    tensor(name, "grad_output", grad_output, value.dtype, (batch, queries, value.shape[2] * value.shape[3]))
    require(grad_output.is_contiguous(), name, "grad_output must be contiguous")
    found = reference.on_host(ms_deform_attn_cpu.backward, grad_output.flatten(0, 1), call)
    return found[0], found[1].view(sampling_locations.shape), found[2].view(attention_weights.shape)


def _checked(
    name: str,
    value: Tensor,
    value_spatial_shapes: Tensor,
    value_level_start_index: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> MsDeformAttnCall:
    """The call, its arguments found right: what the wheel enforces, documents, or would read beside its tensors."""
    kind = value.dtype if isinstance(value, Tensor) and value.dtype == torch.float16 else FLOAT
    tensor(name, "value", value, kind, (None,) * 4)
    batch, pixels, heads, width = value.shape
    index = value_spatial_shapes.dtype if isinstance(value_spatial_shapes, Tensor) else INT
    require(index in (INT, torch.int64), name, f"value_spatial_shapes must be int32 or int64, is {index}")
    tensor(name, "value_spatial_shapes", value_spatial_shapes, index, (None, 2))
    levels = len(value_spatial_shapes)
    tensor(name, "value_level_start_index", value_level_start_index, index, (levels,))
    tensor(name, "sampling_locations", sampling_locations, kind, (batch, None, heads, levels, None, 2))
    queries, points = sampling_locations.shape[1], sampling_locations.shape[4]
    tensor(name, "attention_weights", attention_weights, kind, (batch, queries, heads, levels, points))
    require(0 not in value.shape and 0 not in sampling_locations.shape, name, "tensors must not be empty")
    require(width <= 256, name, f"embed_dims must be at most 256, is {width}")
    require(heads <= 8, name, f"num_heads must be at most 8, is {heads}")
    require(points * levels <= 64, name, f"num_points * num_levels must be at most 64, is {points * levels}")
    shapes = value_spatial_shapes.tolist()
    sizes = [height * across for height, across in shapes]
    require(min(sizes) > 0 and sum(sizes) == pixels, name, f"value has {pixels} keys, value_spatial_shapes {shapes}")
    starts = [sum(sizes[:level]) for level in range(levels)]
    require(value_level_start_index.tolist() == starts, name, f"value_level_start_index must be {starts}")
    flat = [size for shape in shapes for size in shape]
    counts = torch.full((batch,), queries)
    return MsDeformAttnCall(value, sampling_locations.flatten(0, 1), attention_weights.flatten(0, 1), counts, flat)


FUNCTIONS: dict[str, object] = {"multi_scale_deformable_attn": multi_scale_deformable_attn}
PRIVATE: dict[str, object] = {"multi_scale_deformable_attn_backward": multi_scale_deformable_attn_backward}
