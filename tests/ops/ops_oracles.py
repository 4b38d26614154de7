"""The operators once more, as plain loops over NumPy arrays: slow, and written from the formulas alone."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def bilinear(image: Array, y: float, x: float) -> float:
    """Value of ``image`` (H, W) at (y, x); pixels outside are zero."""
    total = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < image.shape[0] and 0 <= column < image.shape[1]:
                total += (1 - abs(y - row)) * (1 - abs(x - column)) * float(image[row, column])
    return total


def deform_conv2d(
    image: Array,
    offset: Array,
    weight: Array,
    bias: Array | None,
    mask: Array | None,
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
    deform_groups: int,
) -> Array:
    """Dai et al. 2017, equations 2 and 3; Zhu et al. 2019, equation 1."""
    n, channels = image.shape[:2]
    out_channels, per_group, kh, kw = weight.shape
    out = np.zeros((n, out_channels, *offset.shape[2:]))
    for b, o, i, j in itertools.product(*map(range, out.shape)):
        total = 0.0 if bias is None else float(bias[o])
        for c, ky, kx in itertools.product(range(per_group), range(kh), range(kw)):
            channel = o // (out_channels // groups) * per_group + c
            tap = channel // (channels // deform_groups) * kh * kw + ky * kw + kx
            y = i * stride[0] - padding[0] + ky * dilation[0] + float(offset[b, 2 * tap, i, j])
            x = j * stride[1] - padding[1] + kx * dilation[1] + float(offset[b, 2 * tap + 1, i, j])
            modulation = 1.0 if mask is None else float(mask[b, tap, i, j])
            total += float(weight[o, c, ky, kx]) * modulation * bilinear(image[b, channel], y, x)
        out[b, o, i, j] = total
    return out


def ms_deform_attn(
    value: Array, shapes: list[tuple[int, int]], locations: Array, weights: Array, images: list[int]
) -> Array:
    """Zhu et al. 2021, equation 3; ``images`` says which image each row of ``locations`` (R, M, L, P, 2) reads."""
    rows, heads, levels, points = weights.shape
    starts = [sum(h * w for h, w in shapes[:level]) for level in range(levels)]
    out = np.zeros((rows, heads, value.shape[3]))
    for r, m, level, p, d in itertools.product(*map(range, (rows, heads, levels, points, value.shape[3]))):
        h, w = shapes[level]
        image = value[images[r], starts[level] : starts[level] + h * w, m, d].reshape(h, w)
        x, y = (float(v) for v in locations[r, m, level, p])
        if math.isfinite(x) and math.isfinite(y):
            out[r, m, d] += float(weights[r, m, level, p]) * bilinear(image, y * h - 0.5, x * w - 0.5)
    return out.reshape(rows, heads * value.shape[3])


def voxel_pool(features: Array, voxels: Array, size: tuple[int, int, int]) -> Array:
    """Sums of ``features`` (B, P, C) over the points of each (y, x)."""
    out = np.zeros((features.shape[0], size[1], size[0], features.shape[2]))
    for b, p in itertools.product(*map(range, features.shape[:2])):
        ix, iy, iz = (int(v) for v in voxels[b, p])
        if 0 <= ix < size[0] and 0 <= iy < size[1] and 0 <= iz < size[2]:
            out[b, iy, ix] += features[b, p]
    return out


def lift(depth: Array, context: Array) -> Array:
    """Features (B, N*D*H*W, C) of every point."""
    B, N, D, H, W = depth.shape
    out = np.zeros((B, N, D, H, W, context.shape[2]))
    for b, n, d, h, w in itertools.product(*map(range, depth.shape)):
        out[b, n, d, h, w] = depth[b, n, d, h, w] * context[b, n, :, h, w]
    return out.reshape(B, N * D * H * W, context.shape[2])


def dft(values: Array, axis: int, inverse: bool, norm: str) -> Array:
    """Product with the matrix of the transform."""
    n = values.shape[axis]
    turns = np.outer(np.arange(n), np.arange(n)) / n
    matrix = np.exp((2j if inverse else -2j) * np.pi * turns)
    scaled = {"ortho": n**-0.5, "backward": 1 / n if inverse else 1.0, "forward": 1.0 if inverse else 1 / n}[norm]
    return np.moveaxis(np.tensordot(matrix * scaled, values, axes=(1, axis)), 0, axis)


def philox_word(index: int, seed: int, site: int, step: int) -> int:
    """The 32 bits that decide on element ``index``, in Python integers."""
    low = 2**32 - 1
    block = index // 4
    counter = [block & low, block >> 32, step & low, site & low]
    key = [seed & low, (seed >> 32) & low]
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [
            (second >> 32) ^ counter[1] ^ key[0],
            second & low,
            (first >> 32) ^ counter[3] ^ key[1],
            first & low,
        ]
        key = [(key[0] + 0x9E3779B9) & low, (key[1] + 0xBB67AE85) & low]
    return counter[index % 4]
