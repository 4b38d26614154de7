"""Deformable convolution in Triton: gathering and the product of matrices in one kernel, no columns in memory.

``triton`` adds the gradient by the image as whole numbers (:mod:`portbev_triton.fixed_point`), ``triton_atomic`` as
floats. Everything else is the same: the gradient by the weight is added over stretches of positions, and over their
sums in order. Columns are float32; their products with halves go by two products of halves, which keep 22 bits of a
column (float16) or 16 (bfloat16), so that the result is rounded once to its dtype.

Bytes for 256 channels of 6 images of 58 x 100, 3 x 3 taps and a mask, in float32: image, output, offsets, mask and
weight are 77 MB. The forward moves 148 MB: it copies the image to channels last first (not one that comes so). Columns
would be 321 MB, written and read. Gathering reads 1.3 GB for each block of output channels, most of it from caches: the
image fits into the second level of current devices. A product is 41 GFLOP, one forward and two backward, which takes
longer than these bytes. The image's gradient adds 9 taps of 4 corners: 321 million terms, into 36 MB of floats, or
71 MB of whole numbers and 9 MB of marks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev_triton.fixed_point import fixed_point, largest
from portbev_triton.launch import Grid, architecture, launch, product_precision, settings
from portbev_triton.probe import ATOMIC, BACKENDS, TRITON, probe, unsupported_dtype
from portbev_triton.variants import DTYPES, Variant

OPERATOR = "deform_conv2d"
Gradients = tuple[Tensor, Tensor, Tensor, Tensor]


def supports(call: DeformConv2dCall) -> str | None:
    """float32, float16 and bfloat16; at least one channel; an image of less than 2**31 values."""
    if 0 in call.weight.shape:
        return "no channels"
    _, C, H, W = call.input.shape
    Co, (Ho, Wo) = call.weight.shape[0], call.offset.shape[2:]
    if (most := max(C * H * W, Co * Ho * Wo, call.weight.numel(), call.offset.numel() // 2)) >= 2**31:
        return f"{most} values in an image, samples or weights: at most 2**31 - 1 are numbered"
    return unsupported_dtype(call.input.dtype)


def forward(call: DeformConv2dCall) -> Tensor:
    """Output (N, Co, Ho, Wo); see :func:`portbev.ops.deform_conv2d`."""
    from portbev_triton.source.deform_conv2d import forward_kernel

    constants, Co, groups = _constants(call), call.weight.shape[0], call.groups
    N, _, Ho, Wo = call.offset.shape
    out = call.input.new_empty(N, Co, Ho, Wo)
    mask, bias = (None if t is None else t.contiguous() for t in (call.mask, call.bias))
    arguments = (_pixels(call.input), call.offset.contiguous(), _taps(call.weight, groups), mask, bias, out)

    def programs(c: Any) -> tuple[int]:
        return (N * _blocks(Ho * Wo, c["BLOCK_P"]) * groups * _blocks(Co // groups, c["BLOCK_O"]),)

    _launch("deform_conv2d", forward_kernel, programs, *arguments, *_sizes(call), like=call.input, **constants)
    return out


def backward(grad_out: Tensor, call: DeformConv2dCall, *, deterministic: bool) -> Gradients:
    """Gradients by input, offset, weight and mask (empty without one)."""
    pixels, grad_out = _pixels(call.input), _pixels(grad_out)
    offset, mask = call.offset.contiguous(), None if call.mask is None else call.mask.contiguous()
    kept = call._replace(offset=offset, mask=mask)
    grad_weight = _grad_weight(grad_out, pixels, kept)
    grad_input, grad_offset, grad_mask = _grad_data(grad_out, pixels, kept, deterministic)
    return grad_input, grad_offset, grad_weight, call.offset.new_empty(0) if grad_mask is None else grad_mask


def _grad_weight(grad_out: Tensor, pixels: Tensor, call: DeformConv2dCall) -> Tensor:
    from portbev_triton.source.deform_conv2d import weight_kernel

    constants, (N, _, Ho, Wo) = _constants(call), call.offset.shape
    Co, Cg, kh, kw = call.weight.shape
    groups, piece = call.groups, constants["PIECE"]
    # What parts are sized by is no candidate of a trial.
    chosen = settings(_name("deform_conv2d_weight", pixels), architecture(pixels.device))
    stretches = _blocks(N * _blocks(Ho * Wo, chosen["BLOCK_P"]), chosen["STRETCH"])
    parts = pixels.new_empty(stretches, groups, kh * kw, Cg, Co // groups, dtype=torch.float32)

    def programs(c: Any) -> tuple[int]:
        channels = Cg * groups // piece * _blocks(piece, c["BLOCK_C"])
        return (stretches * kh * kw * channels * _blocks(Co // groups, c["BLOCK_O"]),)

    arguments = (grad_out, pixels, call.offset, call.mask, parts)
    _launch("deform_conv2d_weight", weight_kernel, programs, *arguments, *_sizes(call), like=pixels, **constants)
    total = parts.sum(0).permute(0, 3, 2, 1)  # (groups, Co/groups, C/groups, taps)
    return total.reshape(call.weight.shape).to(call.weight.dtype).contiguous()


def _grad_data(
    grad_out: Tensor, pixels: Tensor, call: DeformConv2dCall, deterministic: bool
) -> tuple[Tensor, Tensor, Tensor | None]:
    from portbev_triton.source.deform_conv2d import data_kernel
    from portbev_triton.source.fixed_point import image_kernel

    (N, C, H, W), (Ho, Wo) = call.input.shape, call.offset.shape[2:]
    taps = call.weight.shape[2] * call.weight.shape[3]
    fixed = fixed_point(pixels.shape, _largest_terms(grad_out, call), Ho * Wo * taps) if deterministic else None
    sums = pixels.new_zeros(pixels.shape, dtype=torch.float32) if fixed is None else fixed.sums
    poisoned, scale = (None, None) if fixed is None else (fixed.poisoned, fixed.scale)
    grad_offset = torch.empty_like(call.offset)
    grad_mask = None if call.mask is None else torch.empty_like(call.mask)

    def programs(c: Any) -> tuple[int]:
        return (N * _blocks(Ho * Wo, c["BLOCK_P"]) * taps * call.deform_groups,)

    read = (grad_out, pixels, call.offset, _taps(call.weight, call.groups), call.mask)
    written = (sums, poisoned, scale, grad_offset, grad_mask)
    constants = {**_constants(call), "FIXED": deterministic, "accumulates": (sums,)}
    _launch("deform_conv2d_data", data_kernel, programs, *read, *written, *_sizes(call), like=pixels, **constants)
    grad_input = call.input.new_empty(call.input.shape)

    def images(c: Any) -> tuple[int]:
        return (N * _blocks(H * W, c["BLOCK_P"]) * _blocks(C, c["BLOCK_C"]),)

    settled = (sums, poisoned, scale, grad_input, H * W)
    launch("deform_conv2d_image", image_kernel, images, *settled, operator=OPERATOR, like=pixels, C=C)
    return grad_input, grad_offset, grad_mask


def _largest_terms(grad_out: Tensor, call: DeformConv2dCall) -> Tensor:
    """(C,) what no finite term of the gradient by the image passes in each channel: the largest gradient times the
    weights that meet it, times the largest mask. Shares are at most 1."""
    Co, Cg, kh, kw = call.weight.shape
    weight = torch.nan_to_num(call.weight.abs().double(), nan=0.0, posinf=0.0)
    met = weight.reshape(call.groups, Co // call.groups, Cg, kh * kw).sum(1).amax(2).reshape(-1)
    bound = met * largest(grad_out)
    return bound if call.mask is None else bound * largest(call.mask)


def _pixels(input: Tensor) -> Tensor:
    """(N, H, W, C) in memory: one pass, none for a tensor that is channels last."""
    return input.permute(0, 2, 3, 1).contiguous()


def _taps(weight: Tensor, groups: int) -> Tensor:
    """(groups, taps, C/groups, Co/groups) in memory."""
    Co, Cg, kh, kw = weight.shape
    return weight.reshape(groups, Co // groups, Cg, kh * kw).permute(0, 3, 2, 1).contiguous()


def _sizes(call: DeformConv2dCall) -> tuple[int, ...]:
    """images, H, W, Wo, P: the arguments that all kernels have."""
    (N, _, Ho, Wo), (H, W) = call.offset.shape, call.input.shape[2:]
    return N, H, W, Wo, Ho * Wo


def _constants(call: DeformConv2dCall) -> dict[str, Any]:
    """The constants that all kernels have."""
    Co, Cg, kh, kw = call.weight.shape
    C, groups, dg = Cg * call.groups, call.groups, call.deform_groups
    pairs = zip("SPD", (call.stride, call.padding, call.dilation), strict=True)
    return {
        **{"C": C, "CO": Co, "GROUPS": groups, "DEFORM_GROUPS": dg, "PIECE": math.gcd(Cg, C // dg), "KH": kh, "KW": kw},
        **{f"{letter}{axis}": size for letter, pair in pairs for axis, size in zip("HW", pair, strict=True)},
        "PRECISION": product_precision(call.input.device),
    }


def _blocks(count: int, block: int) -> int:
    return -(-count // block)


def _name(kernel: str, like: Tensor) -> str:
    """Of the settings: products of halves go by other units than those of floats."""
    return kernel if like.dtype == torch.float32 else f"{kernel}_half"


def _launch(kernel_name: str, kernel: Any, grid: Grid, *arguments: Any, like: Tensor, **named: Any) -> None:
    launch(_name(kernel_name, like), kernel, grid, *arguments, operator=OPERATOR, like=like, **named)


def variants() -> Iterator[Variant]:
    """What is compiled ahead: BEVFormer's 256 channels, with a mask, in float32 and float16; BEVDepth's 512 in four
    groups, without one, in bfloat16."""
    from portbev_triton.source import deform_conv2d as source
    from portbev_triton.source.fixed_point import image_kernel

    sizes = dict.fromkeys(("images", "H", "W", "Wo", "P"), "i32")
    for dtype in DTYPES:
        C, groups, mask = (512, 4, False) if dtype == "bf16" else (256, 1, True)
        constants: dict[str, Any] = {"C": C, "CO": C, "GROUPS": groups, "DEFORM_GROUPS": 1, "PIECE": C // groups}
        constants |= {"KH": 3, "KW": 3, "SH": 1, "SW": 1, "PH": 1, "PW": 1, "DH": 1, "DW": 1, "PRECISION": "ieee"}
        half = "" if dtype == "fp32" else "_half"
        pointers = dict.fromkeys(
            ("input", "offset", "weight", "mask", "bias", "out", "grad_out", "grad_offset", "grad_mask"), f"*{dtype}"
        )
        pointers |= {"parts": "*fp32", "poisoned": "*i8", "scale": "*fp32"}
        absent: dict[str, Any] = {"bias": None} | ({} if mask else {"mask": None, "grad_mask": None})
        kinds: list[tuple[str, str, Any, dict[str, Any]]] = [
            ("deform_conv2d", "", source.forward_kernel, {}),
            ("deform_conv2d_weight", "", source.weight_kernel, {}),
            ("deform_conv2d_data", "", source.data_kernel, {"FIXED": True}),
            ("deform_conv2d_data", " atomic", source.data_kernel, {"FIXED": False, "poisoned": None, "scale": None}),
        ]
        for name, label, kernel, more in kinds:
            sums = {"sums": "*i64" if more.get("FIXED") else "*fp32"}
            named = {**constants, **absent, **more}
            used = {n: v for n, v in named.items() if n in kernel.arg_names}
            yield Variant(name + half, dtype + label, kernel, {**pointers, **sums, **sizes}, used)
        images = {**pointers, "sums": "*i64", "P": "i32"}
        yield Variant("deform_conv2d_image", dtype, image_kernel, images, {"C": C})


def _kernel(provider: str, priority: int, *, deterministic: bool) -> Kernel:
    back: Callable[[Tensor, Any], Gradients] = partial(backward, deterministic=deterministic)
    how: dict[str, Any] = {"backends": BACKENDS, "supports": supports, "probe": probe, "deterministic": deterministic}
    return Kernel(OPERATOR, provider, forward, back, priority=priority, **how)


KERNELS = (_kernel(TRITON, 20, deterministic=True), _kernel(ATOMIC, 25, deterministic=False))
