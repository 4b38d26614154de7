"""Deformable convolution, versions 1 and 2.

Sources: Dai et al., "Deformable Convolutional Networks" (ICCV 2017); Zhu et al., "Deformable ConvNets v2" (CVPR 2019);
layouts as in mmcv's ``deform_conv2d`` / ``modulated_deform_conv2d`` and torchvision's ``deform_conv2d``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops.precision import autocast_to, dispatch, widened

Pair = tuple[int, int]
_BLOCK_BYTES = 1 << 20


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    mask: Tensor | None = None,
    *,
    stride: int | Pair = 1,
    padding: int | Pair = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """2-D convolution whose taps are moved by ``offset`` and, in version 2, weighted by ``mask``.

    Args:
        input: (N, Ci, H, W), float.
        offset: (N, 2*deform_groups*kh*kw, Ho, Wo) in input pixels. Channel ``2*(g*kh*kw + k)`` is dy and the next one
            dx of tap k (row-major) of deform group g. Group g moves channels ``[g*Ci/deform_groups, ...)``.
        weight: (Co, Ci/groups, kh, kw).
        bias: (Co,) or None.
        mask: (N, deform_groups*kh*kw, Ho, Wo) or None (version 1).

    Returns:
        (N, Co, Ho, Wo).

    Sampling is bilinear with pixel centres at integer coordinates (``align_corners`` does not arise); the image is
    surrounded by zeros, so a tap less than one pixel outside still takes its share of the border. A tap whose offset is
    NaN or infinite reads zero and sends no gradient.
    All arguments are taken to the dtype of ``input``, offsets too, as in mmcv; under autocast to the autocast dtype
    (float64 input excepted). float16 and bfloat16 are computed in float32 and rounded once, at the end. The reference
    is deterministic (on CUDA: where ``torch.use_deterministic_algorithms`` is on).

    Raises:
        ValueError: shapes, dtypes, strides or groups that do not fit together.
    """
    s, p, d = _pair("stride", stride), _pair("padding", padding), _pair("dilation", dilation)
    _check(input, offset, weight, bias, mask, s, p, d, groups, deform_groups)
    dtype = autocast_to(input)
    input, offset, weight = input.to(dtype), offset.to(dtype), weight.to(dtype)
    mask, bias = (None if t is None else t.to(dtype) for t in (mask, bias))
    out: Tensor = _op(input, offset, weight, mask, bias, list(s), list(p), list(d), groups, deform_groups)
    return out


@torch.library.custom_op("portbev::deform_conv2d", mutates_args=())
def _op(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    args = (input, offset, weight, mask, bias, stride, padding, dilation, groups, deform_groups)
    result: Tensor = dispatch("deform_conv2d", "forward", input.device.type, *args)
    return result


@_op.register_fake
def _(input, offset, weight, mask, bias, stride, padding, dilation, groups, deform_groups):  # type: ignore[no-untyped-def]
    return input.new_empty(input.shape[0], weight.shape[0], *offset.shape[2:])


@torch.library.custom_op("portbev::deform_conv2d_backward", mutates_args=())
def _op_backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    deform_groups: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    args = (grad, input, offset, weight, mask, stride, padding, dilation, groups, deform_groups)
    result: tuple[Tensor, Tensor, Tensor, Tensor] = dispatch("deform_conv2d", "backward", input.device.type, *args)
    return result


@_op_backward.register_fake
def _(grad, input, offset, weight, mask, stride, padding, dilation, groups, deform_groups):  # type: ignore[no-untyped-def]
    like = torch.empty_like
    grad_mask = offset.new_empty(0) if mask is None else like(mask, memory_format=torch.contiguous_format)
    plain = (like(t, memory_format=torch.contiguous_format) for t in (input, offset, weight))
    return (*plain, grad_mask)


def _setup(ctx, inputs, output):  # type: ignore[no-untyped-def]
    input, offset, weight, mask, bias, *rest = inputs
    ctx.save_for_backward(input, offset, weight, mask)
    ctx.rest, ctx.has_bias = rest, bias is not None


def _backward(ctx, grad):  # type: ignore[no-untyped-def]
    input, offset, weight, mask = ctx.saved_tensors
    grad = grad.contiguous()  # for the sum over bias as well: the order of its terms follows the strides
    gi, go, gw, gm = _op_backward(grad, input, offset, weight, mask, *ctx.rest)
    grad_bias = grad.sum((0, 2, 3)) if ctx.has_bias else None
    return gi, go, gw, None if mask is None else gm, grad_bias, None, None, None, None, None


_op.register_autograd(_backward, setup_context=_setup)


@dataclass(frozen=True)
class _Plan:
    """Where every tap samples. Rows are pixels' channel slices of one deform group, numbered (image, pixel, group);
    samples are ordered (image, output pixel, tap, deform group)."""

    fy: Tensor  # (samples,) fraction towards the lower row
    fx: Tensor
    rows: list[Tensor]  # per corner (top-left, top-right, bottom-left, bottom-right), (samples,) int64
    inside: list[Tensor]  # per corner, (samples,) 0 or 1

    def part(self, start: int, stop: int) -> _Plan:
        """Samples ``start`` to ``stop``."""
        cut = slice(start, stop)
        return _Plan(self.fy[cut], self.fx[cut], [r[cut] for r in self.rows], [i[cut] for i in self.inside])

    def weight(self, corner: int) -> Tensor:
        wy = self.fy if corner >= 2 else 1 - self.fy
        wx = self.fx if corner % 2 else 1 - self.fx
        return wy * wx * self.inside[corner]

    def slopes(self, corner: int) -> tuple[Tensor, Tensor]:
        """Derivatives of :meth:`weight` by y and x."""
        wy = self.fy if corner >= 2 else 1 - self.fy
        wx = self.fx if corner % 2 else 1 - self.fx
        sy, sx = (1 if corner >= 2 else -1), (1 if corner % 2 else -1)
        return sy * wx * self.inside[corner], sx * wy * self.inside[corner]


def _plan(
    offset: Tensor, size: Pair, kernel: Pair, stride: list[int], padding: list[int], dilation: list[int], dg: int
) -> _Plan:
    N, _, Ho, Wo = offset.shape
    (H, W), (kh, kw) = size, kernel
    taps = offset.reshape(N, dg, kh * kw, 2, Ho * Wo).permute(3, 0, 4, 2, 1)  # 2, N, L, K, dg
    at: dict[str, Any] = {"device": offset.device, "dtype": offset.dtype}
    y = torch.arange(Ho, **at) * stride[0] - padding[0]
    x = torch.arange(Wo, **at) * stride[1] - padding[1]
    ky = (torch.arange(kh, **at) * dilation[0]).repeat_interleave(kw)
    kx = (torch.arange(kw, **at) * dilation[1]).repeat(kh)
    py = taps[0] + (y.repeat_interleave(Wo)[:, None] + ky)[..., None]
    px = taps[1] + (x.repeat(Ho)[:, None] + kx)[..., None]
    # Far outside every corner weighs nothing: bringing the point to the margin keeps the integers small (NaN too).
    py, px = (p.nan_to_num(-2.0).clamp(-2.0, n + 1.0).reshape(-1) for p, n in ((py, H), (px, W)))
    y0, x0 = py.floor(), px.floor()
    fy, fx = py - y0, px - x0
    y0, x0 = y0.long(), x0.long()
    image = torch.arange(N, device=offset.device).repeat_interleave(Ho * Wo * kh * kw * dg) * (H * W)
    group = torch.arange(dg, device=offset.device).repeat(N * Ho * Wo * kh * kw)
    rows, inside = [], []
    for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
        yy, xx = y0 + dy, x0 + dx
        inside.append(((yy >= 0) & (yy < H) & (xx >= 0) & (xx < W)).to(offset.dtype))
        rows.append((image + yy.clamp(0, H - 1) * W + xx.clamp(0, W - 1)) * dg + group)
    return _Plan(fy, fx, rows, inside)


def _rows(input: Tensor, dg: int) -> Tensor:
    """(N*H*W*dg, C/dg): the channels of a pixel and deform group side by side."""
    return input.permute(0, 2, 3, 1).reshape(-1, input.shape[1] // dg)


def _blocks(positions: int, bytes_each: int) -> Iterator[tuple[int, int]]:
    """Runs of output positions whose sampled values fit into a processor's cache."""
    length = max(1, _BLOCK_BYTES // max(1, bytes_each))
    for first in range(0, positions, length):
        yield first, min(first + length, positions)


def _columns(plan: _Plan, rows: Tensor, mask: Tensor | None) -> Tensor:
    """(samples, C/dg) sampled values, weighted by the mask."""
    columns = rows.index_select(0, plan.rows[0]).mul_(plan.weight(0)[:, None])
    for corner in (1, 2, 3):
        columns.addcmul_(rows.index_select(0, plan.rows[corner]), plan.weight(corner)[:, None])
    return columns if mask is None else columns.mul_(mask[:, None])


def _mask_of_samples(mask: Tensor | None, dg: int) -> Tensor | None:
    if mask is None:
        return None
    N, taps, Ho, Wo = mask.shape
    return mask.reshape(N, dg, taps // dg, Ho * Wo).permute(0, 3, 2, 1).reshape(-1)


def _by_group(columns: Tensor, samples: int, taps: int, groups: int) -> Tensor:
    """(groups, N*L, K*Ci/groups) from (N*L*K*dg, Ci/dg)."""
    return columns.reshape(samples, taps, groups, -1).permute(2, 0, 1, 3).reshape(groups, samples, -1)


def _weight_matrix(weight: Tensor, groups: int) -> Tensor:
    """(groups, Co/groups, K*Ci/groups), columns ordered (tap, channel)."""
    Co, Cg, kh, kw = weight.shape
    matrix = weight.reshape(groups, Co // groups, Cg, kh * kw).transpose(2, 3).reshape(groups, Co // groups, -1)
    return matrix.contiguous()  # a product of matrices may round otherwise for other strides


def _wide(*tensors: Tensor | None) -> list[Tensor | None]:
    """float16 and bfloat16 in float32."""
    return [None if t is None else widened(t) for t in tensors]


def reference_forward(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    deform_groups: int,
) -> Tensor:
    """Definition of the operator; arguments as in the schema."""
    dtype = input.dtype
    x, off, w, m, b = _wide(input, offset, weight, mask, bias)
    assert x is not None and off is not None and w is not None
    N, _, Ho, Wo = off.shape
    kernel = (w.shape[2], w.shape[3])
    plan = _plan(off, (x.shape[2], x.shape[3]), kernel, stride, padding, dilation, deform_groups)
    rows, sample_mask = _rows(x, deform_groups), _mask_of_samples(m, deform_groups)
    taps = kernel[0] * kernel[1]
    matrix = _weight_matrix(w, groups).transpose(1, 2)
    out = x.new_empty(groups, N * Ho * Wo, w.shape[0] // groups)
    for first, last in _blocks(N * Ho * Wo, taps * x.shape[1] * x.element_size()):
        cut = slice(first * taps * deform_groups, last * taps * deform_groups)
        columns = _columns(plan.part(cut.start, cut.stop), rows, None if sample_mask is None else sample_mask[cut])
        out[:, first:last] = torch.bmm(_by_group(columns, last - first, taps, groups), matrix)
    out = out.reshape(groups, N, Ho * Wo, w.shape[0] // groups).permute(1, 0, 3, 2).reshape(N, w.shape[0], Ho, Wo)
    return (out if b is None else out + b[:, None, None]).to(dtype).contiguous()


def reference_backward(
    grad: Tensor,
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    mask: Tensor | None,
    stride: list[int],
    padding: list[int],
    dilation: list[int],
    groups: int,
    deform_groups: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by input, offset, weight and mask (empty without one)."""
    g, x, off, w, m = _wide(grad, input, offset, weight, mask)
    assert g is not None and x is not None and off is not None and w is not None
    N, C, H, W = x.shape
    _, Co, Ho, Wo = g.shape
    kh, kw = w.shape[2:]
    K, dg, L = kh * kw, deform_groups, Ho * Wo
    plan = _plan(off, (H, W), (kh, kw), stride, padding, dilation, dg)
    rows, sample_mask = _rows(x, dg), _mask_of_samples(m, dg)

    grad_out = g.reshape(N, groups, Co // groups, L).permute(1, 0, 3, 2).reshape(groups, N * L, Co // groups)
    matrix = _weight_matrix(w, groups)
    grad_w, grad_rows = torch.zeros_like(matrix), torch.zeros_like(rows)
    grad_y, grad_x, grad_value = (torch.zeros_like(plan.fy) for _ in range(3))
    for first, last in _blocks(N * L, K * C * x.element_size()):
        cut = slice(first * K * dg, last * K * dg)
        part = plan.part(cut.start, cut.stop)
        part_mask = None if sample_mask is None else sample_mask[cut]
        part_grad = grad_out[:, first:last]
        by_group = _by_group(_columns(part, rows, part_mask), last - first, K, groups)
        grad_w += torch.bmm(part_grad.transpose(1, 2), by_group)
        grad_columns = torch.bmm(part_grad, matrix).reshape(groups, last - first, K, -1)
        grad_columns = grad_columns.permute(1, 2, 0, 3).reshape(-1, C // dg)
        for corner in range(4):
            dot = (rows.index_select(0, part.rows[corner]) * grad_columns).sum(1)
            slope_y, slope_x = part.slopes(corner)
            grad_y[cut].addcmul_(dot, slope_y)
            grad_x[cut].addcmul_(dot, slope_x)
            share = part.weight(corner)
            grad_value[cut].addcmul_(dot, share)
            if part_mask is not None:
                share = share * part_mask
            grad_rows.index_add_(0, part.rows[corner], grad_columns * share[:, None])
    grad_weight = grad_w.reshape(groups, Co // groups, K, -1).transpose(2, 3).reshape(w.shape).contiguous()
    grad_input = grad_rows.reshape(N, H, W, C).permute(0, 3, 1, 2).contiguous()
    if sample_mask is not None:
        grad_y, grad_x = grad_y * sample_mask, grad_x * sample_mask
    moved = torch.stack((grad_y, grad_x)).reshape(2, N, L, K, dg).permute(1, 4, 3, 0, 2)
    grad_offset = moved.reshape(offset.shape).contiguous()
    if mask is None:
        grad_mask = offset.new_empty(0)
    else:
        grad_mask = grad_value.reshape(N, L, K, dg).permute(0, 3, 2, 1).reshape(mask.shape).to(mask.dtype).contiguous()
    return grad_input.to(input.dtype), grad_offset.to(offset.dtype), grad_weight.to(weight.dtype), grad_mask


KERNELS.add_reference(Kernel("deform_conv2d", "reference", reference_forward, reference_backward, priority=0))


def _pair(name: str, value: int | Pair) -> Pair:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    least = 0 if name == "padding" else 1
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(f"deform_conv2d: {name} is one or two integers of at least {least}, not {value}")
    return int(pair[0]), int(pair[1])


def _check(input, offset, weight, bias, mask, stride, padding, dilation, groups, dg) -> None:  # type: ignore[no-untyped-def]
    def need(condition: bool, text: str) -> None:
        if not condition:
            raise ValueError(f"deform_conv2d: {text}")

    for name, tensor in (("input", input), ("offset", offset), ("weight", weight), ("mask", mask), ("bias", bias)):
        need(
            tensor is None or tensor.is_floating_point(),
            f"{name} is float, not {tensor.dtype if tensor is not None else None}",
        )
        need(tensor is None or name == "bias" or tensor.dim() == 4, f"{name} has four dimensions")
    need(groups > 0, f"groups is at least 1, not {groups}")
    need(dg > 0, f"deform_groups is at least 1, not {dg}")
    (N, C, H, W), (Co, Cg, kh, kw) = input.shape, weight.shape
    need(
        Cg * groups == C and Co % groups == 0,
        f"input {tuple(input.shape)} and weight {tuple(weight.shape)} do not fit {groups} groups",
    )
    need(C % dg == 0, f"deform_groups: {C} channels do not divide into {dg}")
    out = tuple(
        (n + 2 * p - d * (k - 1) - 1) // s + 1
        for n, p, d, k, s in zip((H, W), padding, dilation, (kh, kw), stride, strict=True)
    )
    need(min(out) > 0, f"weight: a kernel of {(kh, kw)} does not fit input {(H, W)} with padding {padding}")
    need(
        tuple(offset.shape) == (N, 2 * dg * kh * kw, *out),
        f"offset is {tuple(offset.shape)}, not {(N, 2 * dg * kh * kw, *out)}",
    )
    need(
        mask is None or tuple(mask.shape) == (N, dg * kh * kw, *out),
        f"mask is {None if mask is None else tuple(mask.shape)}, not {(N, dg * kh * kw, *out)}",
    )
    need(bias is None or tuple(bias.shape) == (Co,), "bias has one value per output channel")
