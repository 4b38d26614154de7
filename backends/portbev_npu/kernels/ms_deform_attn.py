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
from portbev.ops.gradients import gradients
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.precision import widened
from portbev_npu.kernels.limits import MX_DRIVING_CURE, float32_only, package_has

PROVIDER = "mx_driving"
MAX_WIDTH, MAX_HEADS, MAX_SAMPLES = 256, 8, 64


def supports(call: MsDeformAttnCall) -> str | None:
    """The documented limits."""
    heads, width = call.value.shape[2:]
    levels, points = call.locations.shape[2:4]
    if width % 8 or width > MAX_WIDTH:
        return f"heads of {width} channels; {PROVIDER} takes multiples of 8 up to {MAX_WIDTH}"
    if heads > MAX_HEADS:
        return f"{heads} heads; {PROVIDER} takes at most {MAX_HEADS}"
    if levels * points > MAX_SAMPLES:
        return f"{levels} levels of {points} points; {PROVIDER} takes at most {MAX_SAMPLES} in all"
    if 0 in call.locations.shape:
        return "empty input"
    return float32_only(PROVIDER, value=widened(call.value[:0]))


def forward(call: MsDeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    maps = _maps(call)
    wide = call._replace(value=widened(call.value))
    parts = [_attend(_dense(wide.part(images, rows)), maps).flatten(0, 1) for images, rows in calls(call.queries())]
    return torch.cat(parts).to(call.value.dtype)


def backward(grad_out: Tensor, call: MsDeformAttnCall) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights."""
    maps = _maps(call)
    wide = call._replace(value=widened(call.value))
    grad_value, grad_locations, grad_weights = wide.value.new_zeros(wide.value.shape), [], []
    for images, rows in calls(call.queries()):
        dense = _dense(wide.part(images, rows))
        grad_part = widened(grad_out[rows]).unflatten(0, dense.locations.shape[:2])
        found = gradients(lambda leaves: _attend(leaves, maps), dense, ("value", "locations", "weights"), grad_part)
        grad_value[images] = found[0]
        grad_locations.append(found[1].flatten(0, 1))
        grad_weights.append(found[2].flatten(0, 1))
    return grad_value.to(call.value.dtype), torch.cat(grad_locations), torch.cat(grad_weights)


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


def _maps(call: MsDeformAttnCall) -> tuple[Tensor, Tensor]:
    """(L, 2) heights and widths, and (L,) first pixels, int32."""
    sizes, starts = zip(*(((level.height, level.width), level.first) for level in call.levels()), strict=True)
    device = call.value.device
    return (
        torch.tensor(sizes, dtype=torch.int32, device=device),
        torch.tensor(starts, dtype=torch.int32, device=device),
    )


def _dense(part: MsDeformAttnCall) -> MsDeformAttnCall:
    """A part whose images have as many queries each, contiguous, with rows (images, queries, ...) as the vendor's."""
    shape = (len(part.counts), -1)
    locations, weights = part.locations.unflatten(0, shape), part.weights.unflatten(0, shape)
    return part._replace(value=part.value.contiguous(), locations=locations.contiguous(), weights=weights.contiguous())


def _attend(dense: MsDeformAttnCall, maps: tuple[Tensor, Tensor]) -> Tensor:
    import mx_driving

    output = mx_driving.multi_scale_deformable_attn(dense.value, *maps, dense.locations, dense.weights)
    assert isinstance(output, torch.Tensor)
    return output


KERNEL = Kernel(
    operator="ms_deform_attn",
    provider=PROVIDER,
    backends=("npu",),
    forward=forward,
    backward=backward,
    supports=supports,
    priority=30,
    deterministic=False,  # nowhere documented; gradients of the values are scattered
    probe=package_has(PROVIDER, ("multi_scale_deformable_attn",), MX_DRIVING_CURE),
)
