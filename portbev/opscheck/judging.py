"""Is the error of a result that of rounding? The same thresholds for all operators; docs/parity-ops.md says why."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from portbev.opscheck.bias import Bias, bias
from portbev.opscheck.rounding import unit

HALF = (torch.float16, torch.bfloat16)
RMS = {False: 64.0, True: 8.0}
"""Largest ratio of the error's rms to rounding's: in a dtype that sums are made in, and in half precision, whose sums
are made in float32, so that nothing but the operands and results are rounded to it."""
SINGLE = 8.0
"""The largest error may be so many times what the rms may be: of a thousand million normal numbers none is."""
SIGNED = "mean signed error"
BIAS_UNITS, BIAS_ERRORS = 4.0, 8.0
"""A bias beyond so many units of the dtype that sums are made in, and beyond so many of its standard errors."""
FLOOR = 1 / 8
"""Of the rms rounding of a result is added to that of each element, so that no element is judged by a lucky zero."""
NONE = Bias(0.0, 0.0, 0.0, 0.0)
ULPS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 256.0)
"""Upper bounds of the histogram's bins; a last bin has what is beyond."""


@dataclass(frozen=True)
class Figures:
    """How one result of a device compares with the exact one.

    Attributes:
        count: elements.
        rms: root of the mean square of error over rounding.
        largest: the largest of error over rounding.
        bias: of the error.
        ulps: elements by error in units in the last place of the exact value, see :data:`ULPS`.
        differing: elements that are not finite in one and finite, or otherwise not finite, in the other; for whole
            numbers those that differ.
        edges: elements within rounding of a bilinear cell's edge, judged by the values on its sides.
        outside: of these those that lie beyond both.
        wrong: share of the other elements whose own error is beyond the threshold.
        where: index of the element with the largest error over rounding.
        faults: what is beyond a threshold, in words; empty where the error is rounding.
    """

    count: int
    rms: float = 0.0
    largest: float = 0.0
    bias: Bias = NONE
    ulps: tuple[int, ...] = ()
    differing: int = 0
    edges: int = 0
    outside: int = 0
    wrong: float = 0.0
    where: tuple[int, ...] = ()
    faults: tuple[str, ...] = field(default=())

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "count": self.count,
            "rms": self.rms,
            "max": self.largest,
            "gain": [self.bias.gain, self.bias.gain_error],
            "offset": [self.bias.offset, self.bias.offset_error],
            "ulps": list(self.ulps),
            "non_finite_or_whole_differing": self.differing,
            "at_edges": self.edges,
            "outside_edges": self.outside,
            "wrong": self.wrong,
            "worst_at": list(self.where),
            "faults": list(self.faults),
        }


@dataclass(frozen=True)
class Band:
    """Elements within rounding of a bilinear cell's edge, and what they may be: the values on the edge's sides."""

    at: Tensor
    low: Tensor
    high: Tensor


def judge(found: Tensor, exact: Tensor, scale: Tensor, band: Band | None = None) -> Figures:
    """Judge a result by the thresholds of its dtype.

    Args:
        found: of the device, on the host, as it returned it; real.
        exact: of the definition, float64 (or whole numbers, which must be equal).
        scale: see :func:`portbev.opscheck.rounding.rounding`.
        band: elements that have two right values.
    """
    if found.shape != exact.shape:
        said = f"shape {tuple(found.shape)}, not {tuple(exact.shape)}"
        return Figures(found.numel(), faults=(said,))
    if not found.is_floating_point():
        return _whole(found, exact)
    rounded = exact.to(found.dtype)
    kept = rounded.isfinite() & found.isfinite()
    differing = (_kind(found) != _kind(rounded)) & ~kept
    edges = torch.zeros_like(kept) if band is None else band.at & kept
    kept &= ~edges
    zero = torch.zeros((), dtype=torch.float64)
    error = torch.where(kept, found.double() - exact, zero)
    truth, scale = torch.where(kept, exact, zero), torch.where(kept, scale, zero)
    judged = int(kept.sum())
    mean = float((scale.square().sum() / max(1, judged)).sqrt())
    least = max(mean * FLOOR, float(torch.finfo(found.dtype).tiny) * unit(found.dtype))
    weight = (scale.square() + least**2).sqrt()
    ratios = (error / weight).abs()
    rms = float((ratios.square().sum() / max(1, judged)).sqrt())
    allowed = RMS[found.dtype in HALF]
    measured = bias(error, truth, scale, rms, unit(found.dtype))
    outside = 0
    if band is not None and bool(edges.any()):
        value, typical = found.double(), exact.nan_to_num(0.0, 0.0, 0.0).square().mean().sqrt()
        slack = allowed * SINGLE * unit(found.dtype) * (torch.maximum(band.low.abs(), band.high.abs()) + typical)
        outside = int((edges & ((value < band.low - slack) | (value > band.high + slack))).sum())
    figures = Figures(
        count=found.numel(),
        rms=rms,
        largest=float(ratios.max()) if ratios.numel() else 0.0,
        bias=measured,
        ulps=_histogram(error, truth, kept, found.dtype),
        differing=int(differing.sum()),
        edges=int(edges.sum()),
        outside=outside,
        wrong=float((ratios > allowed * SINGLE).sum()) / max(1, judged),
        where=tuple(int(i) for i in torch.unravel_index(ratios.argmax(), ratios.shape)) if ratios.dim() else (),
    )
    return replace(figures, faults=tuple(_faults(figures, found.dtype)))


def _faults(figures: Figures, dtype: torch.dtype) -> list[str]:
    """What is beyond a threshold."""
    said, allowed = [], RMS[dtype in HALF]
    if figures.differing:
        said.append(
            f"{figures.differing} of {figures.count} elements are not finite where they should be, or otherwise"
        )
    if figures.rms > allowed:
        said.append(f"rms error {figures.rms:.3g} times rounding's ({allowed:g} are allowed)")
    if figures.largest > allowed * SINGLE:
        said.append(f"largest error {figures.largest:.3g} times rounding's ({allowed * SINGLE:g} are allowed)")
    least = BIAS_UNITS * unit(torch.float64 if dtype == torch.float64 else torch.float32)
    for what, size, spread in (
        ("the value", figures.bias.gain, figures.bias.gain_error),
        ("its rms", figures.bias.offset, figures.bias.offset_error),
    ):
        if abs(size) > max(least, BIAS_ERRORS * spread):
            said.append(f"{SIGNED} {size:+.3g} of {what} (standard error {spread:.1g}): rounding has none")
    if figures.outside:
        said.append(f"{figures.outside} of {figures.edges} elements at a cell's edge lie beyond both its sides")
    return said


def _whole(found: Tensor, exact: Tensor) -> Figures:
    """Whole numbers and booleans are equal or wrong."""
    wrong = found.to(exact.dtype) != exact
    differing = int(wrong.sum())
    faults = (f"{differing} of {found.numel()} whole numbers differ",) if differing else ()
    share = differing / max(1, found.numel())
    return Figures(found.numel(), differing=differing, wrong=share, faults=faults)


def _kind(value: Tensor) -> Tensor:
    """0 finite, 1 NaN, 2 infinity, 3 minus infinity."""
    return value.isnan() * 1 + value.isposinf() * 2 + value.isneginf() * 3


def _histogram(error: Tensor, exact: Tensor, kept: Tensor, dtype: torch.dtype) -> tuple[int, ...]:
    """Elements by error in units in the last place of ``exact``."""
    info = torch.finfo(dtype)
    exponent = torch.frexp(exact.abs().clamp(min=float(info.tiny)))[1] - 1
    ulps = error.abs() / torch.ldexp(torch.full_like(exact, float(info.eps)), exponent)
    bins = torch.bucketize(ulps[kept], torch.tensor(ULPS, dtype=torch.float64))
    return tuple(int(n) for n in torch.bincount(bins, minlength=len(ULPS) + 1))
