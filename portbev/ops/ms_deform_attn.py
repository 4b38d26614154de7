"""Multi-scale deformable attention: weighted bilinear samples of feature maps.

Source: Zhu et al., "Deformable DETR" (ICLR 2021), equation 3 without its projections; layouts as in mmcv's
``multi_scale_deformable_attn``. One operator serves both functions below: queries are rows, sorted by image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from portbev.ops.bilinear import bilinear_shares
from portbev.ops.checks import need
from portbev.ops.operator import BackwardOperator, Operator
from portbev.ops.precision import autocast_to_float32, widened

Shapes = Sequence[tuple[int, int]]


@dataclass(frozen=True)
class Level:
    """A feature map among the pixels of an image."""

    number: int
    first: int  # its first pixel
    height: int
    width: int


class MsDeformAttnCall(NamedTuple):
    """The arguments of a call, as kernels get them."""

    value: Tensor  # (B, S, M, D), float: B images, S pixels of all levels, M heads of D channels
    locations: Tensor  # (R, M, L, P, 2), float32 or float64: (x, y) from 0 to 1, for each of R queries, sorted by image
    weights: Tensor  # (R, M, L, P), the same dtype
    counts: Tensor  # (B,), int64, on the host: queries of each image; a list would fix B in exported programs
    shapes: list[int]  # height and width of each level: h0, w0, h1, w1, ...

    def levels(self) -> list[Level]:
        """The feature maps, in order."""
        levels, first = [], 0
        for number, (height, width) in enumerate(zip(self.shapes[::2], self.shapes[1::2], strict=True)):
            levels.append(Level(number, first, height, width))
            first += height * width
        return levels

    def queries(self) -> list[int]:
        """``counts`` as Python integers, found right.

        Raises:
            ValueError: they are not those of the rows.
        """
        counts, rows = self.counts.tolist(), self.locations.shape[0]
        need("ms_deform_attn_ragged", all(count >= 0 for count in counts), f"counts are at least 0, not {counts}")
        need("ms_deform_attn_ragged", sum(counts) == rows, f"counts add up to {sum(counts)}, not {rows} rows")
        return counts

    def images(self) -> Iterator[tuple[int, slice]]:
        """(image, its queries) of every image that has queries."""
        first = 0
        for image, count in enumerate(self.queries()):
            if count:
                yield image, slice(first, first + count)
            first += count

    def dense_parts(self) -> Iterator[tuple[slice, slice]]:
        """Images and rows that a kernel without ragged rows takes at once: all where the images have equally many rows,
        else one image with rows at a time."""
        counts = self.queries()
        if len(set(counts)) == 1:
            yield slice(0, len(counts)), slice(0, sum(counts))
            return
        for image, rows in self.images():
            yield slice(image, image + 1), rows

    def part(self, images: slice, queries: slice) -> MsDeformAttnCall:
        """The call of some images alone; ``queries`` are theirs."""
        value, locations, weights = self.value[images], self.locations[queries], self.weights[queries]
        return MsDeformAttnCall(value, locations, weights, self.counts[images], self.shapes)


def definition(call: MsDeformAttnCall) -> Tensor:
    """Sum over levels and points: the weight of the point times the value of its image at its location."""
    value, locations, weights, counts, _ = call
    image = torch.arange(len(counts)).repeat_interleave(counts.cpu()).to(value.device)
    out = value.new_zeros(len(locations), *value.shape[2:])
    for level in call.levels():
        h, w = level.height, level.width
        maps = value[:, level.first : level.first + h * w].unflatten(1, (h, w))[image]  # (R, h, w, M, D)
        x, y = locations[:, :, level.number].unbind(-1)  # (R, M, P)
        x, y = bilinear_shares(x * w - 0.5, w), bilinear_shares(y * h - 0.5, h)  # (R, M, P, w) and (R, M, P, h)
        out = out + torch.einsum("rmp,rmph,rmpw,rhwmd->rmd", weights[:, :, level.number], y, x, maps)
    return out.flatten(1)


MS_DEFORM_ATTN = Operator(
    "ms_deform_attn",
    MsDeformAttnCall,
    definition=definition,
    fake=lambda call: call.value.new_empty(call.locations.shape[0], call.value.shape[2] * call.value.shape[3]),
    gradient=BackwardOperator(differentiable=("value", "locations", "weights")),
)


def ms_deform_attn(value: Tensor, spatial_shapes: Shapes, locations: Tensor, weights: Tensor) -> Tensor:
    """Every query and head sums ``weights`` times the values at ``locations``, over all levels and points.

    Args:
        value: (B, S, M, D), float: B images, M heads of D channels; S holds the pixels of all levels, level after
            level, row by row.
        spatial_shapes: (h, w) of each of the L levels, Python integers; the sum of h*w is S.
        locations: (B, Q, M, L, P, 2), float: (x, y) of P points per level; (0, 0) is the upper left corner of the
            level and (1, 1) the lower right one.
        weights: (B, Q, M, L, P), float.

    Returns:
        (B, Q, M*D) in the dtype of ``value``.

    Sampling is bilinear as by ``grid_sample`` with ``align_corners=False`` and zero padding: the point lies at
    ``x*w - 0.5``, ``y*h - 0.5`` in pixels whose centres are whole numbers, and pixels outside are zero. A point with a
    NaN or infinite coordinate reads zero and sends no gradient. Values and weights are taken to be finite.
    float16 and bfloat16 values are summed in float32 and rounded once, at the end; locations and weights are taken to
    float32 with them (to float64 with float64 values). Under autocast the result is float32. The kernels of this
    package are deterministic (on CUDA: where ``torch.use_deterministic_algorithms`` is on). Differentiable once.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    name = "ms_deform_attn"
    need(name, locations.dim() == 6, f"locations are (B, Q, M, L, P, 2), not {tuple(locations.shape)}")
    need(name, weights.dim() == 5, f"weights are (B, Q, M, L, P), not {tuple(weights.shape)}")
    _check(name, value, spatial_shapes, locations, weights, tuple(locations.shape[:2]))
    images, queries = locations.shape[:2]
    fits = images == value.shape[0]
    need(name, fits, f"locations {tuple(locations.shape)} and value {tuple(value.shape)} are of as many images")
    counts = torch.full((images,), queries, dtype=torch.int64, device="cpu")
    out = _run(value, spatial_shapes, locations.flatten(0, 1), weights.flatten(0, 1), counts)
    return out.unflatten(0, (images, queries))


def ms_deform_attn_ragged(
    value: Tensor, spatial_shapes: Shapes, locations: Tensor, weights: Tensor, counts: Sequence[int] | Tensor
) -> Tensor:
    """:func:`ms_deform_attn` with a number of queries of its own for each image, without padding.

    Args:
        value: (B, S, M, D), float.
        spatial_shapes: (h, w) of each of the L levels.
        locations: (R, M, L, P, 2), float; the rows of image 0 first, then those of image 1, and so on.
        weights: (R, M, L, P), float.
        counts: how many of the R rows belong to each of the B images, Python integers or a tensor (B,) int64 on the
            host; zeros are fine. The values are looked at where the operator is computed, not where it is traced.

    Returns:
        (R, M*D) in the dtype of ``value``.

    Raises:
        ValueError: shapes, dtypes, devices or counts that do not fit together.
    """
    name = "ms_deform_attn_ragged"
    need(name, locations.dim() == 5, f"locations are (R, M, L, P, 2), not {tuple(locations.shape)}")
    need(name, weights.dim() == 4, f"weights are (R, M, L, P), not {tuple(weights.shape)}")
    _check(name, value, spatial_shapes, locations, weights, (locations.shape[0],))
    return _run(value, spatial_shapes, locations, weights, counts_of(name, counts, value))


def counts_of(name: str, counts: Sequence[int] | Tensor, value: Tensor) -> Tensor:
    """``counts`` as a tensor (B,) int64 on the host, one for each image of ``value``.

    Raises:
        ValueError: they are not.
    """
    if isinstance(counts, Tensor):
        fits = counts.dim() == 1 and counts.dtype == torch.int64 and counts.device.type == "cpu"
        need(name, fits, f"counts are (B,) int64 on the host, not {counts.dtype} on {counts.device}")
    else:
        counts = torch.tensor([int(count) for count in counts], dtype=torch.int64)
    fits = counts.shape[0] == value.shape[0]
    need(name, fits, f"counts {tuple(counts.shape)} have one for each image of value {tuple(value.shape)}")
    return counts


def _run(value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, counts: Tensor) -> Tensor:
    value = autocast_to_float32(value)
    wide = widened(value).dtype  # a location rounded to bfloat16 would be off by pixels
    flat = [int(size) for shape in shapes for size in shape]
    out: Tensor = MS_DEFORM_ATTN(MsDeformAttnCall(value, locations.to(wide), weights.to(wide), counts, flat))
    return out


def _check(
    name: str, value: Tensor, shapes: Shapes, locations: Tensor, weights: Tensor, queries: tuple[int, ...]
) -> None:
    """What both forms ask of their arguments; ``queries`` are the leading sizes of locations."""
    check_maps(name, value, shapes, {"locations": locations, "weights": weights})
    wanted = (*queries, value.shape[2], len(shapes), locations.shape[-2])
    need(name, tuple(locations.shape) == (*wanted, 2), f"locations are {(*wanted, 2)}, not {tuple(locations.shape)}")
    need(name, tuple(weights.shape) == wanted, f"weights are {wanted}, not {tuple(weights.shape)}")


def check_maps(name: str, value: Tensor, shapes: Shapes, others: Mapping[str, Tensor]) -> None:
    """What is asked of value and shapes, and that ``others`` are float tensors on the device of ``value``.

    Raises:
        ValueError: they are not.
    """
    filled = value.dim() == 4 and min(value.shape[2:]) > 0
    need(name, filled, f"value is (B, S, M, D) with M and D of at least 1, not {tuple(value.shape)}")
    for label, tensor in (("value", value), *others.items()):
        need(name, tensor.is_floating_point(), f"{label}: float, not {tensor.dtype}")
        need(name, tensor.device == value.device, f"{label} on {tensor.device}, value on {value.device}")
    need(name, len(shapes) > 0, "spatial_shapes: at least one level")
    for shape in shapes:
        need(name, len(shape) == 2 and min(shape) > 0, f"spatial_shapes are (h, w) of at least 1, not {tuple(shape)}")
    pixels = sum(int(h) * int(w) for h, w in shapes)
    need(name, value.shape[1] == pixels, f"value has {value.shape[1]} pixels, spatial_shapes {pixels}")
