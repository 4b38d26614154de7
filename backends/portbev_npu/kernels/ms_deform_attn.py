"""``ms_deform_attn`` by mx_driving (DrivingSDK), Atlas A2.

``multi_scale_deformable_attn(value (B,S,M,D), spatial_shapes (L,2), level_start_index (L,), sampling_locations
(B,Q,M,L,P,2), attention_weights (B,Q,M,L,P)) -> (B,Q,M*D)``: mmcv's layout, which is the operator's own. Documented
limits: float16 or float32, D a multiple of 8 and at most 256, M <= 8, L*P <= 64, no empty tensor. Half-precision values
are taken to float32, as the operator promises. Images with as many queries each are one call, others one call each: no
padding. Not run on a device.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.precision import widened
from portbev_npu.kernels.gradients import gradients
from portbev_npu.kernels.limits import MX_DRIVING_CURE, float32_only, package_has

PROVIDER = "mx_driving"
MAX_WIDTH, MAX_HEADS, MAX_SAMPLES = 256, 8, 64


def supports(
    value: Tensor, locations: Tensor, weights: Tensor, counts: Sequence[int], shapes: Sequence[int]
) -> str | None:
    """The documented limits."""
    heads, width = value.shape[2:]
    levels, points = locations.shape[2:4]
    if width % 8 or width > MAX_WIDTH:
        return f"heads of {width} channels; {PROVIDER} takes multiples of 8 up to {MAX_WIDTH}"
    if heads > MAX_HEADS:
        return f"{heads} heads; {PROVIDER} takes at most {MAX_HEADS}"
    if levels * points > MAX_SAMPLES:
        return f"{levels} levels of {points} points; {PROVIDER} takes at most {MAX_SAMPLES} in all"
    if 0 in locations.shape:
        return "empty input"
    return float32_only(PROVIDER, value=widened(value[:0]))


def supports_backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, counts: Sequence[int], shapes: Sequence[int]
) -> str | None:
    """As :func:`supports`."""
    return supports(value, locations, weights, counts, shapes)


def forward(value: Tensor, locations: Tensor, weights: Tensor, counts: Sequence[int], shapes: Sequence[int]) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    maps = _maps(shapes, value.device)
    parts = [
        _call(*_dense(widened(value), locations, weights, images, rows), maps).flatten(0, 1)
        for images, rows in calls(counts)
    ]
    return torch.cat(parts).to(value.dtype)


def backward(
    grad: Tensor, value: Tensor, locations: Tensor, weights: Tensor, counts: Sequence[int], shapes: Sequence[int]
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights."""
    maps = _maps(shapes, value.device)
    by_value, by_location, by_weight = widened(value).new_zeros(value.shape), [], []
    for images, rows in calls(counts):
        inputs = _dense(widened(value), locations, weights, images, rows)
        upstream = widened(grad[rows]).unflatten(0, inputs[1].shape[:2])
        found = gradients(lambda v, x, w: _call(v, x, w, maps), inputs, upstream)
        by_value[images] = found[0]
        by_location.append(found[1].flatten(0, 1))
        by_weight.append(found[2].flatten(0, 1))
    return by_value.to(value.dtype), torch.cat(by_location), torch.cat(by_weight)


def calls(counts: Sequence[int]) -> Iterator[tuple[slice, slice]]:
    """Images and rows of each call: all at once if they have equal counts, else one image with queries at a time."""
    if len(set(counts)) == 1:
        yield slice(0, len(counts)), slice(0, sum(counts))
        return
    first = 0
    for image, count in enumerate(counts):
        if count:
            yield slice(image, image + 1), slice(first, first + count)
        first += count


def _maps(shapes: Sequence[int], device: torch.device) -> tuple[Tensor, Tensor]:
    """(L, 2) heights and widths, and (L,) first pixels, int32."""
    sizes = [[h, w] for h, w in zip(shapes[::2], shapes[1::2], strict=True)]
    starts = [sum(h * w for h, w in sizes[:level]) for level in range(len(sizes))]
    return (
        torch.tensor(sizes, dtype=torch.int32, device=device),
        torch.tensor(starts, dtype=torch.int32, device=device),
    )


def _dense(
    value: Tensor, locations: Tensor, weights: Tensor, images: slice, rows: slice
) -> tuple[Tensor, Tensor, Tensor]:
    """The arguments of one call, (images, queries, ...)."""
    shape = (images.stop - images.start, -1)
    part = value[images], locations[rows].unflatten(0, shape), weights[rows].unflatten(0, shape)
    return part[0].contiguous(), part[1].contiguous(), part[2].contiguous()


def _call(value: Tensor, locations: Tensor, weights: Tensor, maps: tuple[Tensor, Tensor]) -> Tensor:
    import mx_driving

    output = mx_driving.multi_scale_deformable_attn(value, *maps, locations, weights)
    assert isinstance(output, torch.Tensor)
    return output


KERNEL = Kernel(
    operator="ms_deform_attn",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    backward=backward,
    supports=supports,
    supports_backward=supports_backward,
    priority=30,
    deterministic=False,  # nowhere documented; gradients of the values are scattered
    probe=package_has(PROVIDER, ("multi_scale_deformable_attn",), MX_DRIVING_CURE),
)
