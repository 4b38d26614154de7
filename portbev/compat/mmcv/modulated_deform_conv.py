"""``mmcv.ops.modulated_deform_conv`` by :func:`portbev.ops.deform_conv2d`: deformable convolution, version 2.

Arguments, defaults, attributes, keys of the state and the draws of initial weights are those of mmcv 1.3 to 2.2.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair, _single

from portbev.compat.mmcv.deform_conv import Size, compute, conv_offset_of, take_old_keys
from portbev.compat.mmcv.renamed import renamed

__all__ = [
    "ModulatedDeformConv2d",
    "ModulatedDeformConv2dFunction",
    "ModulatedDeformConv2dPack",
    "modulated_deform_conv2d",
]


def modulated_deform_conv2d(
    input: Tensor,
    offset: Tensor,
    mask: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    deform_groups: int = 1,
) -> Tensor:
    """mmcv's function of this name.

    Args:
        input: (N, Ci, H, W); all are taken to the dtype of ``offset``, as mmcv does.
        offset: (N, 2*deform_groups*kh*kw, Ho, Wo), dy and dx of each tap in turn, pixels.
        mask: (N, deform_groups*kh*kw, Ho, Wo).
        weight: (Co, Ci/groups, kh, kw).
        bias: (Co,) or None.

    Returns:
        (N, Co, Ho, Wo).

    Raises:
        ValueError: the input has not four dimensions, or shapes do not fit together.
    """
    return compute(input, offset, weight, bias, mask, (stride, padding, dilation), groups, deform_groups)


class ModulatedDeformConv2dFunction:
    """Stands where mmcv has an autograd function: :meth:`apply` is :func:`modulated_deform_conv2d`."""

    apply = staticmethod(modulated_deform_conv2d)


class ModulatedDeformConv2d(nn.Module):
    """Deformable convolution version 2 (Zhu et al., CVPR 2019) that is given its offsets and mask."""

    @renamed({"deformable_groups": "deform_groups"}, "ModulatedDeformConv2d")
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        deform_groups: int = 1,
        bias: bool | str = True,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride, self.padding, self.dilation = _pair(stride), _pair(padding), _pair(dilation)
        self.groups, self.deform_groups = groups, deform_groups
        self.transposed, self.output_padding = False, _single(0)  # what nn.Conv2d has
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.init_weights()

    def init_weights(self) -> None:
        """Weights uniform within 1 / sqrt(input channels * taps), zero bias."""
        bound = 1 / math.sqrt(self.in_channels * math.prod(self.kernel_size))
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """(N,Ci,H,W), offsets (N,2*G*kh*kw,Ho,Wo) and mask (N,G*kh*kw,Ho,Wo) to (N,Co,Ho,Wo), G deform groups."""
        geometry = self.stride, self.padding, self.dilation
        return modulated_deform_conv2d(
            x, offset, mask, self.weight, self.bias, *geometry, self.groups, self.deform_groups
        )

    def extra_repr(self) -> str:
        names = "in_channels out_channels kernel_size stride padding dilation groups deform_groups"
        shown = ", ".join(f"{name}={getattr(self, name)}" for name in names.split())
        return f"{shown}, bias={self.bias is not None}"


class ModulatedDeformConv2dPack(ModulatedDeformConv2d):
    """Deformable convolution version 2 that predicts its offsets and mask by a convolution, ``conv_offset``.

    That has zero initial weights: no offsets, and a mask of 1/2.
    """

    _version = 2

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = conv_offset_of(self, 3)
        self.init_weights()  # the weights are drawn again, as in mmcv: equal seeds, equal weights

    def init_weights(self) -> None:
        """As above, and zero offsets."""
        super().init_weights()
        if hasattr(self, "conv_offset"):
            nn.init.zeros_(self.conv_offset.weight)
            nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N,Ci,H,W) to (N,Co,Ho,Wo)."""
        out = self.conv_offset(x)
        taps = out.shape[1] // 3
        return super().forward(x, out[:, : 2 * taps], out[:, 2 * taps :].sigmoid())

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        take_old_keys(state_dict, prefix, local_metadata)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)
