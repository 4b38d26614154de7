"""What a fault looks like, and where to look: a device's results against those of definitions with a known mistake."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.dropout import DropoutCall, apply_mask
from portbev.ops.fft import FftCall
from portbev.ops.ms_deform_attn import MS_DEFORM_ATTN, MsDeformAttnCall
from portbev.ops.operator import OPERATORS
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.opscheck.checking import Finding, Oracle
from portbev.opscheck.judging import HALF, RMS, SIGNED, Figures
from portbev.opscheck.portable import STRIDED
from portbev.opscheck.subject import doubled, evaluate

Wrong = Callable[[Any], Any]
"""From a call to the results of a definition with a mistake."""
FITS = {False: 1e-2, True: 0.1}
"""A mistake explains a result that is this much nearer to it than to the right one; in half precision, too."""
BITS = {"bfloat16": (7.0, 9.3), "TF32 or float16": (9.3, 12.0)}
"""Significant bits that a rounding leaves, measured from the size of its error."""


def guess(oracle: Oracle, finding: Finding) -> str:
    """What the faults of a finding look like; a clause that says where to look."""
    wrong = {name: figures for name, figures in finding.figures.items() if figures.faults}
    named = [name for name in wrong if name in oracle.exact]
    known = _mistake(oracle, finding, [name for name in named if name.startswith("result")] or named)
    if known:
        return known
    if not wrong:
        return "look at what it depends on besides its arguments" if finding.faults else ""
    name, figures = max(wrong.items(), key=lambda item: (item[0].startswith("result"), item[1].rms))
    forward = any(result.startswith("result") for result in wrong)
    where = "" if forward else "; the forward is right: look at its backward"
    strides = " (its operands have other strides than usual)" if oracle.subject.case == STRIDED else ""
    return _numbers(oracle, finding, name, figures) + strides + where


def _numbers(oracle: Oracle, finding: Finding, name: str, figures: Figures) -> str:
    """What the sizes of an error say."""
    if figures.differing and not figures.rms:
        return "look at how it treats NaN, infinity, overflow or empty sums"
    if name not in oracle.exact or finding.results[name].shape != oracle.exact[name].shape:
        return "look at the shape of its result"
    if not bool(finding.results[name].any()) and bool(oracle.exact[name].any()):
        return "it is zero everywhere: nothing was computed or written"
    if _scaled(oracle, finding.results[name], name, figures):
        return f"it is the right result times {1 + figures.bias.gain:.9g}: look at a constant, a mean or a scale"
    return _pattern(oracle.subject.dtype, figures)


def _scaled(oracle: Oracle, found: Tensor, name: str, figures: Figures) -> bool:
    """Whether a factor explains the error."""
    gain = figures.bias.gain
    if gain == 0.0 or gain <= -1:
        return False
    rest = oracle.judge(name, (found.double() / (1 + gain)).to(found.dtype))
    return rest.rms <= figures.rms / 50 or rest.rms <= RMS[oracle.subject.dtype in HALF] < figures.rms / 2


def _pattern(dtype: torch.dtype, figures: Figures) -> str:
    """What the share of wrong elements, and the size and sign of errors say."""
    bits = 24 - math.log2(max(figures.rms, 1.0)) if dtype == torch.float32 else 0.0
    signed = [SIGNED in fault for fault in figures.faults]
    for precision, (least, most) in BITS.items():
        if least <= bits < most and not any(signed):
            return f"errors of numbers with {bits:.0f} significant bits: look for {precision} inside"
    if 0 < figures.wrong < 0.5 and dtype not in HALF:
        at = ", ".join(map(str, figures.where))
        return f"{figures.wrong:.2%} of the elements are wrong ([{at}] most): look at indices, bounds and masks"
    if signed and all(signed) and "of the value" in figures.faults[0]:
        return (
            f"it is the right result times about {1 + figures.bias.gain:.7g}: look at a constant, epsilon or truncation"
        )
    if signed and all(signed):
        return "errors have one sign: look at truncation, an epsilon or a constant"
    return "a different function: look at its definition, signs, order of axes and missing terms"


def _mistake(oracle: Oracle, finding: Finding, names: list[str]) -> str:
    """A known mistake that explains all that is wrong."""
    subject = oracle.subject
    if not names or subject.call is None:
        return ""
    for told, wrong in _WRONG.get(type(subject.call), {}).items():
        try:
            other = _evaluated(oracle, wrong)
        except (RuntimeError, ValueError, IndexError):  # the mistake cannot be made in this call
            continue
        if all(_explains(finding.results[name], oracle.exact[name], other.get(name)) for name in names):
            return f"as if {told}"
    return ""


def _evaluated(oracle: Oracle, wrong: Wrong) -> Mapping[str, Tensor]:
    subject = oracle.subject

    def define(operands: Mapping[str, Tensor]) -> Any:
        return wrong(subject.call._replace(**operands))

    mistaken = replace(subject, define=define)
    return evaluate(mistaken.define, doubled(subject.operands), subject.trained, list(oracle.grads), subject.dtype)


def _explains(found: Tensor, exact: Tensor, other: Tensor | None) -> bool:
    if other is None or other.shape != found.shape or exact.shape != found.shape:
        return False
    error, rest = ((found.double() - one.double()).nan_to_num(0.0).square().mean() for one in (exact, other))
    return bool(rest <= FITS[found.dtype in HALF] ** 2 * error)


# ---- deformable attention


def _moved(call: MsDeformAttnCall, place: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """The definition at other places: ``place`` is given places in pixels and sizes (L, 1, 2)."""
    sizes = torch.tensor(call.shapes, dtype=call.locations.dtype).view(-1, 2).flip(-1)[:, None]
    pixels = place(call.locations * sizes - 0.5, sizes)
    out: Tensor = MS_DEFORM_ATTN.definition(call._replace(locations=(pixels + 0.5) / sizes))
    return out


_PLACES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "align_corners were true": lambda pixels, sizes: (pixels + 0.5) * (sizes - 1) / sizes,
    "the half pixel were left out": lambda pixels, sizes: pixels + 0.5,
    "places were a pixel too far": lambda pixels, sizes: pixels + 1,
}


def _attention_mistakes() -> dict[str, Wrong]:
    found: dict[str, Wrong] = {
        f"{told}": lambda call, place=place: _moved(call, place)  # type: ignore[misc]
        for told, place in _PLACES.items()
    }
    found["x and y were swapped"] = lambda call: MS_DEFORM_ATTN.definition(
        call._replace(locations=call.locations.flip(-1))
    )
    found["the weights were ignored"] = lambda call: MS_DEFORM_ATTN.definition(
        call._replace(weights=torch.ones_like(call.weights))
    )
    return found


def _fused_mistakes() -> dict[str, Wrong]:
    define = OPERATORS["deform_attn"].definition
    found: dict[str, Wrong] = {
        told: lambda call, wrong=wrong: wrong(call.sampling())  # type: ignore[misc]
        for told, wrong in _attention_mistakes().items()
        if "weights" not in told and "swapped" not in told
    }
    found["x and y of the offsets were swapped"] = lambda call: define(call._replace(offsets=call.offsets.flip(-1)))
    found["x and y of the references were swapped"] = lambda call: define(
        call._replace(reference=call.reference.flip(-1))
    )
    found["the softmax were over the other axes"] = lambda call: define(call._replace(per_level=not call.per_level))
    found["the order of the anchors were turned"] = lambda call: define(call._replace(reference=call.reference.flip(2)))
    return found


# ---- deformable convolution


def _pairs(call: DeformConv2dCall, change: Callable[[Tensor], Tensor]) -> DeformConv2dCall:
    """The call with its offsets (N, G*K, 2, H, W) changed."""
    return call._replace(offset=change(call.offset.unflatten(1, (-1, 2))).flatten(1, 2))


def _convolution(change: Callable[[DeformConv2dCall], DeformConv2dCall]) -> Wrong:
    return lambda call: OPERATORS["deform_conv2d"].definition(change(call))


def _unmasked(call: DeformConv2dCall) -> DeformConv2dCall:
    if call.mask is None:
        raise ValueError("there is no mask")
    return call._replace(mask=torch.ones_like(call.mask) + 0 * call.mask)


def _all_first(offset: Tensor) -> Tensor:
    """Read as if all dy came before all dx."""
    return offset.flatten(1, 2).unflatten(1, (2, -1)).transpose(1, 2)


# ---- pooling, dropout, transforms


def _pooled(operator: str, change: Callable[[Tensor], Tensor]) -> Wrong:
    return lambda call: OPERATORS[operator].definition(call._replace(voxels=change(call.voxels)))


def _pooling_mistakes(operator: str) -> dict[str, Wrong]:
    found: dict[str, Wrong] = {"x and y were swapped": _pooled(operator, lambda voxels: voxels[..., [1, 0, 2]])}
    for axis, letter in enumerate("xyz"):
        for step in (1, -1):
            by = torch.tensor([step * (axis == other) for other in range(3)], dtype=torch.int32)
            found[f"cells were {step:+d} along {letter}"] = _pooled(operator, lambda voxels, by=by: voxels + by)  # type: ignore[misc]
    return found


def _mask_moved(by: int) -> Wrong:
    def wrong(call: DropoutCall) -> Any:
        kept = OPERATORS["dropout"].definition(call)[1]
        kept = kept.flatten().roll(by).reshape(kept.shape)
        return apply_mask(call.input, kept, call.p), kept

    return wrong


def _dropout(**change: Any) -> Wrong:
    return lambda call: OPERATORS["dropout"].definition(call._replace(**change))


def _turned(call: FftCall) -> Any:
    return OPERATORS["fft"].definition(call._replace(inverse=not call.inverse))


def _normed(norm: str) -> Wrong:
    return lambda call: OPERATORS["fft"].definition(call._replace(norm=norm))


_WRONG: dict[type, dict[str, Wrong]] = {
    MsDeformAttnCall: _attention_mistakes(),
    DeformAttnCall: _fused_mistakes(),
    DeformConv2dCall: {
        "dx and dy were swapped": _convolution(lambda call: _pairs(call, lambda offset: offset.flip(2))),
        "the mask were ignored": _convolution(_unmasked),
        "all dy came before all dx": _convolution(lambda call: _pairs(call, _all_first)),
        "places were half a pixel off": _convolution(lambda call: call._replace(offset=call.offset - 0.5)),
    },
    VoxelPoolCall: _pooling_mistakes("voxel_pool"),
    VoxelPoolLiftCall: _pooling_mistakes("voxel_pool_lift"),
    DropoutCall: {
        "each element had the mask of the one before": _mask_moved(1),
        "each element had the mask of the one after": _mask_moved(-1),
        "the step were left out": _dropout(step=0),
        "the site were left out": _dropout(site=0),
    },
    FftCall: {
        "the direction were the other": _turned,
        **{f"the norm were {norm}": _normed(norm) for norm in ("backward", "ortho", "forward")},
    },
}
"""Mistakes by type of call; `as if ...` is how they are told."""
