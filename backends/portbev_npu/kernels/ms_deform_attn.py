"""``ms_deform_attn`` by mx_driving (DrivingSDK), Atlas A2 and A3.

``multi_scale_deformable_attn(value (B,S,M,D), spatial_shapes (L,2), level_start_index (L,), sampling_locations
(B,Q,M,L,P,2), attention_weights (B,Q,M,L,P)) -> (B,Q,M*D)``, positions only: mmcv's layout, which is the operator's
own. The wheel enforces D <= 256, L*P <= 64 and no empty tensor, and documents M <= 8; the kernels take float32, to
which half-precision values are taken here, as the operator promises. Images with as many queries each are one call,
others one call each: no padding. Read in the wheels 26.1.0 and 26.2.0; not run on a device.

The backward is the vendor's ``_C.multi_scale_deformable_attn_backward(the same, grad (B,Q,M*D))``, which needs no
result of the forward.
"""

from __future__ import annotations

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.precision import widened
from portbev_npu.chips import chip_lacks
from portbev_npu.kernels.limits import MX_DRIVING_CURE, first_of, float32_only, nonempty, package_has
from portbev_npu.vendor import driving

PROVIDER = "mx_driving"
MAX_WIDTH, MAX_HEADS, MAX_SAMPLES = 256, 8, 64


def supports(call: MsDeformAttnCall) -> str | None:
    """What the wheel enforces, and what it documents."""
    floats = float32_only(PROVIDER, value=widened(call.value[:0]))
    empty = nonempty(value=call.value, locations=call.locations)
    return first_of(_limits(call), empty, floats, chip_lacks("multi_scale_deformable_attn"))


def supports_backward(grad_out: Tensor, call: MsDeformAttnCall) -> str | None:
    """As :func:`supports`; some chips have no backward."""
    return first_of(supports(call), chip_lacks("multi_scale_deformable_attn_backward"))


def forward(call: MsDeformAttnCall) -> Tensor:
    """Result (R, M*D); see :func:`portbev.ops.ms_deform_attn_ragged`."""
    maps = _maps(call)
    wide = call._replace(value=widened(call.value))
    parts = [_attend(_dense(wide.part(images, rows)), maps).flatten(0, 1) for images, rows in call.dense_parts()]
    return torch.cat(parts).to(call.value.dtype)


def backward(grad_out: Tensor, call: MsDeformAttnCall) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of value, locations and weights."""
    maps = _maps(call)
    wide = call._replace(value=widened(call.value))
    grad_value, grad_locations, grad_weights = wide.value.new_zeros(wide.value.shape), [], []
    for images, rows in call.dense_parts():
        dense = _dense(wide.part(images, rows))
        grad_part = widened(grad_out[rows]).unflatten(0, dense.locations.shape[:2]).contiguous()
        found = driving()._C.multi_scale_deformable_attn_backward(
            dense.value, *maps, dense.locations, dense.weights, grad_part
        )
        grad_value[images] = found[0]
        grad_locations.append(found[1].flatten(0, 1))
        grad_weights.append(found[2].flatten(0, 1))
    return grad_value.to(call.value.dtype), torch.cat(grad_locations), torch.cat(grad_weights)


def _limits(call: MsDeformAttnCall) -> str | None:
    heads, width = call.value.shape[2:]
    levels, points = call.locations.shape[2:4]
    if width > MAX_WIDTH:
        return f"heads of {width} channels; {PROVIDER} takes at most {MAX_WIDTH}"
    if heads > MAX_HEADS:
        return f"{heads} heads; {PROVIDER} documents at most {MAX_HEADS}"
    if levels * points > MAX_SAMPLES:
        return f"{levels} levels of {points} points; {PROVIDER} takes at most {MAX_SAMPLES} in all"
    return None


def _maps(call: MsDeformAttnCall) -> tuple[Tensor, Tensor]:
    """(L, 2) heights and widths, and (L,) first pixels, int32."""
    sizes, starts = zip(*(((level.height, level.width), level.first) for level in call.levels()), strict=True)
    device = call.value.device
    return (
        torch.tensor(sizes, dtype=torch.int32).to(device, non_blocking=True),
        torch.tensor(starts, dtype=torch.int32).to(device, non_blocking=True),
    )


def _dense(part: MsDeformAttnCall) -> MsDeformAttnCall:
    """A part whose images have as many queries each, contiguous, with rows (images, queries, ...) as the vendor's."""
    shape = (len(part.counts), -1)
    locations, weights = part.locations.unflatten(0, shape), part.weights.unflatten(0, shape)
    return part._replace(value=part.value.contiguous(), locations=locations.contiguous(), weights=weights.contiguous())


def _attend(dense: MsDeformAttnCall, maps: tuple[Tensor, Tensor]) -> Tensor:
    output = driving().multi_scale_deformable_attn(dense.value, *maps, dense.locations, dense.weights)
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
    probe=package_has(
        PROVIDER, ("multi_scale_deformable_attn", "_C.multi_scale_deformable_attn_backward"), MX_DRIVING_CURE
    ),
)
