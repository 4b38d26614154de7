"""Reference kernel of deformable convolution: samples as rows of channels, then products of matrices.

It goes block by block of output positions, so that the sampled values of a block stay in a processor's cache. A sample
is one tap of one deform group at one output position; it reads four corners: top left, top right, bottom left, bottom
right. float16 and bfloat16 are computed in float32.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import REFERENCE, Kernel
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.precision import widened

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class _Samples:
    """Where every tap samples. Rows are the channels of a pixel in one deform group, numbered (image, pixel, group);
    samples are ordered (image, output position, tap, deform group)."""

    y_fraction: Tensor  # (samples,), towards the lower row
    x_fraction: Tensor  # (samples,), towards the right column
    rows: list[Tensor]  # for each corner, (samples,) int64
    inside: list[Tensor]  # for each corner, (samples,) 0 or 1

    def part(self, start: int, stop: int) -> _Samples:
        """Samples ``start`` to ``stop``."""
        cut = slice(start, stop)
        rows, inside = [r[cut] for r in self.rows], [i[cut] for i in self.inside]
        return _Samples(self.y_fraction[cut], self.x_fraction[cut], rows, inside)

    def share(self, corner: int) -> Tensor:
        """Bilinear weight of ``corner``, zero outside of the image."""
        y_share = self.y_fraction if corner >= 2 else 1 - self.y_fraction
        x_share = self.x_fraction if corner % 2 else 1 - self.x_fraction
        return y_share * x_share * self.inside[corner]

    def slopes(self, corner: int) -> tuple[Tensor, Tensor]:
        """Derivatives of :meth:`share` by y and x."""
        y_share = self.y_fraction if corner >= 2 else 1 - self.y_fraction
        x_share = self.x_fraction if corner % 2 else 1 - self.x_fraction
        y_sign, x_sign = (1 if corner >= 2 else -1), (1 if corner % 2 else -1)
        return y_sign * x_share * self.inside[corner], x_sign * y_share * self.inside[corner]


def _samples(call: DeformConv2dCall) -> _Samples:
    offset, dg = widened(call.offset), call.deform_groups
    N, _, Ho, Wo = offset.shape
    (H, W), (kh, kw) = call.input.shape[2:], call.weight.shape[2:]
    moved = offset.reshape(N, dg, kh * kw, 2, Ho * Wo).permute(3, 0, 4, 2, 1)  # (2, N, positions, taps, dg)
    like: dict[str, Any] = {"device": offset.device, "dtype": offset.dtype}
    y = torch.arange(Ho, **like) * call.stride[0] - call.padding[0]
    x = torch.arange(Wo, **like) * call.stride[1] - call.padding[1]
    ky = (torch.arange(kh, **like) * call.dilation[0]).repeat_interleave(kw)
    kx = (torch.arange(kw, **like) * call.dilation[1]).repeat(kh)
    y_at = moved[0] + (y.repeat_interleave(Wo)[:, None] + ky)[..., None]
    x_at = moved[1] + (x.repeat(Ho)[:, None] + kx)[..., None]
    # Far outside every corner weighs nothing: bringing the point to the margin keeps the integers small (NaN too).
    y_at, x_at = (p.nan_to_num(-2.0).clamp(-2.0, n + 1.0).reshape(-1) for p, n in ((y_at, H), (x_at, W)))
    y0, x0 = y_at.floor(), x_at.floor()
    y_fraction, x_fraction = y_at - y0, x_at - x0
    y0, x0 = y0.long(), x0.long()
    image = torch.arange(N, device=offset.device).repeat_interleave(Ho * Wo * kh * kw * dg) * (H * W)
    group = torch.arange(dg, device=offset.device).repeat(N * Ho * Wo * kh * kw)
    rows, inside = [], []
    for down, right in ((0, 0), (0, 1), (1, 0), (1, 1)):
        row, column = y0 + down, x0 + right
        inside.append(((row >= 0) & (row < H) & (column >= 0) & (column < W)).to(offset.dtype))
        rows.append((image + row.clamp(0, H - 1) * W + column.clamp(0, W - 1)) * dg + group)
    return _Samples(y_fraction, x_fraction, rows, inside)


def _rows(input: Tensor, dg: int) -> Tensor:
    """(N*H*W*dg, C/dg): the channels of a pixel and deform group side by side."""
    return input.permute(0, 2, 3, 1).reshape(-1, input.shape[1] // dg)


def _blocks(positions: int, bytes_each: int) -> Iterator[tuple[int, int]]:
    """Runs of output positions whose sampled values fit into a processor's cache."""
    length = max(1, BLOCK_BYTES // max(1, bytes_each))
    for first in range(0, positions, length):
        yield first, min(first + length, positions)


def _columns(samples: _Samples, rows: Tensor, mask: Tensor | None) -> Tensor:
    """(samples, C/dg) sampled values, weighted by the mask."""
    columns = rows.index_select(0, samples.rows[0]).mul_(samples.share(0)[:, None])
    for corner in (1, 2, 3):
        columns.addcmul_(rows.index_select(0, samples.rows[corner]), samples.share(corner)[:, None])
    return columns if mask is None else columns.mul_(mask[:, None])


def _mask_of_samples(mask: Tensor | None, dg: int) -> Tensor | None:
    if mask is None:
        return None
    N, taps, Ho, Wo = mask.shape
    return widened(mask).reshape(N, dg, taps // dg, Ho * Wo).permute(0, 3, 2, 1).reshape(-1)


def _by_group(columns: Tensor, positions: int, taps: int, groups: int) -> Tensor:
    """(groups, N*positions, taps*Ci/groups) from (N*positions*taps*dg, Ci/dg)."""
    return columns.reshape(positions, taps, groups, -1).permute(2, 0, 1, 3).reshape(groups, positions, -1)


def _weight_matrix(weight: Tensor, groups: int) -> Tensor:
    """(groups, Co/groups, taps*Ci/groups), columns ordered (tap, channel)."""
    Co, Cg, kh, kw = weight.shape
    matrix = weight.reshape(groups, Co // groups, Cg, kh * kw).transpose(2, 3).reshape(groups, Co // groups, -1)
    return matrix.contiguous()  # a product of matrices may round otherwise for other strides


def forward(call: DeformConv2dCall) -> Tensor:
    """Output (N, Co, Ho, Wo); see :func:`portbev.ops.deform_conv2d`."""
    input, weight = widened(call.input), widened(call.weight)
    groups, dg = call.groups, call.deform_groups
    N, _, Ho, Wo = call.offset.shape
    Co, _, kh, kw = weight.shape
    K, L = kh * kw, Ho * Wo
    samples, rows, mask = _samples(call), _rows(input, dg), _mask_of_samples(call.mask, dg)
    matrix = _weight_matrix(weight, groups).transpose(1, 2)
    out = input.new_empty(groups, N * L, Co // groups)
    for first, last in _blocks(N * L, K * input.shape[1] * input.element_size()):
        cut = slice(first * K * dg, last * K * dg)
        columns = _columns(samples.part(cut.start, cut.stop), rows, None if mask is None else mask[cut])
        out[:, first:last] = torch.bmm(_by_group(columns, last - first, K, groups), matrix)
    out = out.reshape(groups, N, L, Co // groups).permute(1, 0, 3, 2).reshape(N, Co, Ho, Wo)
    out = out if call.bias is None else out + widened(call.bias)[:, None, None]
    return out.to(call.input.dtype).contiguous()


def backward(grad_out: Tensor, call: DeformConv2dCall) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by input, offset, weight and mask (empty without one)."""
    input, weight, grad_out = widened(call.input), widened(call.weight), widened(grad_out)
    groups, dg = call.groups, call.deform_groups
    N, C, H, W = input.shape
    _, Co, Ho, Wo = grad_out.shape
    kh, kw = weight.shape[2:]
    K, L = kh * kw, Ho * Wo
    samples, rows, mask = _samples(call), _rows(input, dg), _mask_of_samples(call.mask, dg)

    grad_out = grad_out.reshape(N, groups, Co // groups, L).permute(1, 0, 3, 2).reshape(groups, N * L, Co // groups)
    matrix = _weight_matrix(weight, groups)
    grad_matrix, grad_rows = torch.zeros_like(matrix), torch.zeros_like(rows)
    grad_y, grad_x, grad_share = (torch.zeros_like(samples.y_fraction) for _ in range(3))
    for first, last in _blocks(N * L, K * C * input.element_size()):
        cut = slice(first * K * dg, last * K * dg)
        part = samples.part(cut.start, cut.stop)
        part_mask = None if mask is None else mask[cut]
        part_grad = grad_out[:, first:last]
        by_group = _by_group(_columns(part, rows, part_mask), last - first, K, groups)
        grad_matrix += torch.bmm(part_grad.transpose(1, 2), by_group)
        grad_columns = torch.bmm(part_grad, matrix).reshape(groups, last - first, K, -1)
        grad_columns = grad_columns.permute(1, 2, 0, 3).reshape(-1, C // dg)
        for corner in range(4):
            dot = (rows.index_select(0, part.rows[corner]) * grad_columns).sum(1)
            slope_y, slope_x = part.slopes(corner)
            grad_y[cut].addcmul_(dot, slope_y)
            grad_x[cut].addcmul_(dot, slope_x)
            share = part.share(corner)
            grad_share[cut].addcmul_(dot, share)
            if part_mask is not None:
                share = share * part_mask
            grad_rows.index_add_(0, part.rows[corner], grad_columns * share[:, None])
    grad_weight = grad_matrix.reshape(groups, Co // groups, K, -1).transpose(2, 3).reshape(weight.shape).contiguous()
    grad_input = grad_rows.reshape(N, H, W, C).permute(0, 3, 1, 2).contiguous()
    if mask is not None:
        grad_y, grad_x = grad_y * mask, grad_x * mask
    grad_offset = torch.stack((grad_y, grad_x)).reshape(2, N, L, K, dg).permute(1, 4, 3, 0, 2)
    grad_offset = grad_offset.reshape(call.offset.shape).contiguous()
    if call.mask is None:
        grad_mask = call.offset.new_empty(0)
    else:
        grad_mask = grad_share.reshape(N, L, K, dg).permute(0, 3, 2, 1).reshape(call.mask.shape)
        grad_mask = grad_mask.to(call.mask.dtype).contiguous()
    return (
        grad_input.to(call.input.dtype),
        grad_offset.to(call.offset.dtype),
        grad_weight.to(call.weight.dtype),
        grad_mask,
    )


KERNEL = Kernel("deform_conv2d", REFERENCE, forward, backward, priority=0)
