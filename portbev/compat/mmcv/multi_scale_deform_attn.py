"""``mmcv.ops.multi_scale_deform_attn`` by :func:`portbev.ops.ms_deform_attn`.

Arguments, defaults, attributes, keys of the state and the draws of initial weights are those of mmcv 1.3 to 2.2. The
sizes of the levels, a tensor there, are read on the host: one copy from the device a call, as mmcv's Python form does.
``im2col_step`` is kept as an attribute and changes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from portbev import ops
from portbev.compat.mmcv.renamed import renamed
from portbev.compat.mmcv.serving import serve

__all__ = [
    "MultiScaleDeformableAttention",
    "MultiScaleDeformableAttnFunction",
    "multi_scale_deformable_attn_pytorch",
]

Shapes = Tensor | Sequence[Sequence[int]]


def multi_scale_deformable_attn_pytorch(
    value: Tensor, value_spatial_shapes: Shapes, sampling_locations: Tensor, attention_weights: Tensor
) -> Tensor:
    """mmcv's function of this name.

    Args:
        value: (B, S, M, D), the levels one after the other.
        value_spatial_shapes: (L, 2), (h, w) of each level: a tensor, or pairs.
        sampling_locations: (B, Q, M, L, P, 2), (x, y) from 0 to 1 over each level.
        attention_weights: (B, Q, M, L, P).

    Returns:
        (B, Q, M*D) in the dtype of ``value``.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit together.
    """
    return attend(value, sizes(value_spatial_shapes), sampling_locations, attention_weights)


def attend(value: Tensor, shapes: list[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The operator, with the sizes of the levels as Python integers."""
    serve(value)
    return ops.ms_deform_attn(value, shapes, locations, weights).to(value.dtype)


def sizes(shapes: Shapes, starts: Any = None) -> list[tuple[int, int]]:
    """(h, w) of each level; ``starts``, where given, are found to be those of levels without gaps.

    Raises:
        ValueError: they are not (L, 2), or levels begin elsewhere.
    """
    flat = torch.as_tensor(shapes)
    if flat.dim() != 2 or flat.shape[1] != 2:
        raise ValueError(f"ms_deform_attn: spatial_shapes are (levels, 2), not {tuple(flat.shape)}")
    begin = [] if starts is None else [torch.as_tensor(starts, device=flat.device).reshape(-1).to(flat.dtype)]
    numbers = [int(n) for n in torch.cat([flat.reshape(-1), *begin]).tolist()]  # one copy from the device
    levels = flat.shape[0]
    found = list(zip(numbers[: 2 * levels : 2], numbers[1 : 2 * levels : 2], strict=True))
    if starts is not None:
        wanted = [sum(h * w for h, w in found[:level]) for level in range(levels)]
        if numbers[2 * levels :] != wanted:
            raise ValueError(f"ms_deform_attn: level_start_index is {wanted}, not {numbers[2 * levels :]}")
    return found


class MultiScaleDeformableAttnFunction:
    """Stands where mmcv has an autograd function."""

    @staticmethod
    def apply(
        value: Tensor,
        value_spatial_shapes: Shapes,
        value_level_start_index: Any,
        sampling_locations: Tensor,
        attention_weights: Tensor,
        im2col_step: int = 64,
    ) -> Tensor:
        """:func:`multi_scale_deformable_attn_pytorch`; ``value_level_start_index`` (L,) is where each level begins.

        Raises:
            ValueError: arguments that do not fit together.
        """
        shapes = sizes(value_spatial_shapes, value_level_start_index)
        return attend(value, shapes, sampling_locations, attention_weights)


class MultiScaleDeformableAttention(nn.Module):
    """Deformable attention (Zhu et al., ICLR 2021) that adds the query to its result.

    Args:
        embed_dims: C, a multiple of ``num_heads``.
        num_heads, num_levels, num_points: M, L and P.
        im2col_step: not used.
        dropout: probability of zeroing an element of the result.
        batch_first: query and value are (B, N, C) rather than (N, B, C).
        norm_cfg, init_cfg: kept, not used.
        value_proj_ratio: channels of the values over ``embed_dims``.

    Raises:
        ValueError: ``embed_dims`` is no multiple of ``num_heads``.
    """

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        im2col_step: int = 64,
        dropout: float = 0.1,
        batch_first: bool = False,
        norm_cfg: dict[str, Any] | None = None,
        init_cfg: Any = None,
        value_proj_ratio: float = 1.0,
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(f"embed_dims must be divisible by num_heads, but got {embed_dims} and {num_heads}")
        self.norm_cfg, self.init_cfg, self.batch_first = norm_cfg, init_cfg, batch_first
        self.dropout = nn.Dropout(dropout)
        self.im2col_step, self.embed_dims = im2col_step, embed_dims
        self.num_levels, self.num_heads, self.num_points = num_levels, num_heads, num_points
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, samples * 2)
        self.attention_weights = nn.Linear(embed_dims, samples)
        channels = int(embed_dims * value_proj_ratio)
        self.value_proj = nn.Linear(embed_dims, channels)
        self.output_proj = nn.Linear(channels, embed_dims)
        self.init_weights()

    def init_weights(self) -> None:
        """Offsets that fan out, a direction for each head and a pixel further for each point; equal weights; Xavier
        uniform projections."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        like = self.sampling_offsets.bias
        angles = torch.arange(self.num_heads, dtype=torch.float32, device=like.device) * (
            2.0 * math.pi / self.num_heads
        )
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().max(-1, keepdim=True)[0]
        steps = torch.arange(1, self.num_points + 1, device=like.device, dtype=torch.float32)
        fan = directions[:, None, None] * steps[:, None]
        with torch.no_grad():
            like.copy_(fan.expand(-1, self.num_levels, -1, -1).reshape(-1))
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self._is_init = True

    @renamed({"residual": "identity"}, "MultiScaleDeformableAttention")
    def forward(
        self,
        query: Tensor,
        key: Tensor | None = None,
        value: Tensor | None = None,
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes: Shapes | None = None,
        level_start_index: Any = None,
        **kwargs: Any,
    ) -> Tensor:
        """Attend; shapes with ``batch_first``, otherwise query, value, identity and result are (N, B, C).

        Args:
            query: (B, Q, C).
            key: not used.
            value: (B, S, C); None: the query.
            identity: (B, Q, C), added to the result; None: the query as given.
            query_pos: (B, Q, C), added to the query.
            key_padding_mask: (B, S), true where the value is zero.
            reference_points: (B, Q, L, 2), (x, y) from 0 to 1; or (B, Q, L, 4), with the width and height of a box.
            spatial_shapes: (L, 2), (h, w) of each level.
            level_start_index: (L,), where each level begins; checked.

        Returns:
            (B, Q, C).

        Raises:
            ValueError: arguments that do not fit together.
        """
        if reference_points is None or spatial_shapes is None:
            raise ValueError("MultiScaleDeformableAttention: reference_points and spatial_shapes are needed")
        value = query if value is None else value
        identity = query if identity is None else identity
        if query_pos is not None:
            query = query + query_pos
        if not self.batch_first:
            query, value = query.transpose(0, 1), value.transpose(0, 1)
        shapes = sizes(spatial_shapes, level_start_index)
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        value = value.unflatten(-1, (self.num_heads, -1))
        samples = self.num_heads, self.num_levels, self.num_points
        offsets = self.sampling_offsets(query).unflatten(-1, (*samples, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        weights = weights.unflatten(-1, samples[1:])
        out = self.output_proj(attend(value, shapes, self._locations(reference_points, offsets, shapes), weights))
        if not self.batch_first:
            out = out.transpose(0, 1)
        out = self.dropout(out) + identity
        return out

    def _locations(self, reference: Tensor, offsets: Tensor, shapes: list[tuple[int, int]]) -> Tensor:
        """(B, Q, M, L, P, 2): offsets are pixels, or with boxes half a box for ``num_points`` of them."""
        at = reference[:, :, None, :, None, :]
        if reference.shape[-1] == 2:
            pixels = torch.tensor([(w, h) for h, w in shapes], device=offsets.device)
            return at + offsets / pixels[None, None, None, :, None, :]
        if reference.shape[-1] == 4:
            return at[..., :2] + offsets / self.num_points * at[..., 2:] * 0.5
        raise ValueError(f"Last dim of reference_points must be 2 or 4, but get {reference.shape[-1]} instead.")
