"""``mmcv.ops.deform_conv`` by :func:`portbev.ops.deform_conv2d`: deformable convolution, version 1.

Arguments, defaults, attributes, keys of the state and the draws of initial weights are those of mmcv 1.3 to 2.2.
``im2col_step`` is kept as an attribute and changes nothing: any batch size goes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.utils import _pair, _single

from portbev import ops
from portbev.compat.mmcv.renamed import renamed
from portbev.compat.mmcv.serving import serve

__all__ = ["DeformConv2d", "DeformConv2dFunction", "DeformConv2dPack", "deform_conv2d"]

Size = int | tuple[int, ...]


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    stride: Size = 1,
    padding: Size = 0,
    dilation: Size = 1,
    groups: int = 1,
    deform_groups: int = 1,
    bias: bool = False,
    im2col_step: int = 32,
) -> Tensor:
    """mmcv's function of this name.

    Args:
        input: (N, Ci, H, W); taken to the dtype of ``offset``, as mmcv does, and so is ``weight``.
        offset: (N, 2*deform_groups*kh*kw, Ho, Wo), dy and dx of each tap in turn, pixels.
        weight: (Co, Ci/groups, kh, kw).
        bias: False; there is none.
        im2col_step: not used.

    Returns:
        (N, Co, Ho, Wo).

    Raises:
        ValueError: the input has not four dimensions, or shapes do not fit together.
        AssertionError: ``bias`` is asked for.
    """
    if bias:
        raise AssertionError(f"deform_conv2d: bias={bias}; deformable convolution version 1 has none")
    return compute(input, offset, weight, None, None, (stride, padding, dilation), groups, deform_groups)


def compute(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    geometry: tuple[Size, Size, Size],
    groups: int,
    deform_groups: int,
) -> Tensor:
    """Either version, with strides, paddings and dilations as ``geometry``."""
    if input.dim() != 4:
        raise ValueError(f"Expected 4D tensor as input, got {input.dim()}D tensor instead.")
    serve(input)
    stride, padding, dilation = (_pair(size) for size in geometry)
    return ops.deform_conv2d(
        input.type_as(offset),
        offset,
        weight,
        bias,
        mask,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        deform_groups=deform_groups,
    )


class DeformConv2dFunction:
    """Stands where mmcv has an autograd function: :meth:`apply` is :func:`deform_conv2d`."""

    apply = staticmethod(deform_conv2d)


class DeformConv2d(nn.Module):
    """Deformable convolution (Dai et al., ICCV 2017) that is given its offsets; without a bias.

    Raises:
        AssertionError: a bias, or channels that do not divide into ``groups``.
    """

    @renamed({"deformable_groups": "deform_groups"}, "DeformConv2d")
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
        bias: bool = False,
        im2col_step: int = 32,
    ) -> None:
        super().__init__()
        if bias:
            raise AssertionError(f"bias={bias} is not supported in DeformConv2d.")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise AssertionError(f"{name} {channels} cannot be divided into {groups} groups")
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride, self.padding, self.dilation = _pair(stride), _pair(padding), _pair(dilation)
        self.groups, self.deform_groups, self.im2col_step = groups, deform_groups, im2col_step
        self.transposed, self.output_padding = False, _single(0)  # what nn.Conv2d has
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Kaiming uniform for ReLU."""
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """(N,Ci,H,W) and offsets (N,2*deform_groups*kh*kw,Ho,Wo) to (N,Co,Ho,Wo). A map smaller than the kernel is
        padded with zeros below and to the right, and the result cut."""
        down, right = (max(k - size, 0) for k, size in zip(self.kernel_size, x.shape[2:], strict=True))
        if down or right:
            x, offset = (functional.pad(t, (0, right, 0, down)) for t in (x, offset))
        out = self._convolve(x, offset)
        if down or right:
            out = out[:, :, : out.shape[2] - down, : out.shape[3] - right].contiguous()
        return out

    def _convolve(self, x: Tensor, offset: Tensor) -> Tensor:
        geometry = self.stride, self.padding, self.dilation
        return deform_conv2d(x, offset, self.weight, *geometry, self.groups, self.deform_groups)

    def extra_repr(self) -> str:
        names = "in_channels out_channels kernel_size stride padding dilation groups deform_groups"
        return ", ".join(f"{name}={getattr(self, name)}" for name in names.split()) + ", bias=False"


class DeformConv2dPack(DeformConv2d):
    """Deformable convolution that predicts its offsets by a convolution of zero initial weights, ``conv_offset``."""

    _version = 2

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conv_offset = conv_offset_of(self, 2)
        self.init_offset()

    def init_offset(self) -> None:
        """Zero offsets."""
        nn.init.zeros_(self.conv_offset.weight)
        nn.init.zeros_(self.conv_offset.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N,Ci,H,W) to (N,Co,Ho,Wo)."""
        return self._convolve(x, self.conv_offset(x))

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *rest: Any
    ) -> None:
        take_old_keys(state_dict, prefix, local_metadata)
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *rest)


def conv_offset_of(layer: Any, channels: int) -> nn.Conv2d:
    """The convolution that predicts ``channels`` for each tap and deform group of ``layer``."""
    taps = layer.kernel_size[0] * layer.kernel_size[1]
    geometry = layer.kernel_size, layer.stride, layer.padding, layer.dilation
    return nn.Conv2d(layer.in_channels, layer.deform_groups * channels * taps, *geometry, bias=True)


def take_old_keys(state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any]) -> None:
    """States of version 1 have ``conv2_offset.weight`` beside ``conv2`` instead of ``conv2.conv_offset.weight``."""
    version = local_metadata.get("version")
    if version is not None and version >= 2:
        return
    for name in ("weight", "bias"):
        new, old = f"{prefix}conv_offset.{name}", f"{prefix[:-1]}_offset.{name}"
        if new not in state_dict and old in state_dict:
            state_dict[new] = state_dict.pop(old)
