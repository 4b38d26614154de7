"""Feature pyramid network (Lin et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from portbev.errors import ConfigError


class FPN(nn.Module):
    """Project the maps of several stages to one number of channels and add the coarse maps to the fine ones.

    Keys ``lateral_convs.i.conv``, ``fpn_convs.i.conv`` and, with a norm, ``.bn``, as in OpenMMLab's FPN. As there, no
    activation follows, and the input of the first extra convolution has no ReLU whatever ``relu_before_extra_convs``
    says. Initial weights are Xavier uniform.

    Args:
        in_channels: channels of each input, fine to coarse.
        out_channels: channels of each output.
        outputs: number of output maps; those beyond the inputs are 3x3 convolutions of stride 2 on the last *output*.
        norm: eps and momentum of a BatchNorm after each convolution, which then has no bias; None: no BatchNorm.

    Raises:
        ConfigError: fewer outputs than inputs.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int = 256,
        *,
        outputs: int | None = None,
        norm: tuple[float, float] | None = None,
    ) -> None:
        super().__init__()
        outputs = len(in_channels) if outputs is None else outputs
        if outputs < len(in_channels):
            raise ConfigError(f"a pyramid over {len(in_channels)} maps cannot have {outputs} outputs")
        self.lateral_convs = nn.ModuleList(_Conv(channels, out_channels, 1, 1, norm) for channels in in_channels)
        self.fpn_convs = nn.ModuleList(
            _Conv(out_channels, out_channels, 3, 1 if index < len(in_channels) else 2, norm) for index in range(outputs)
        )

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Maps (N,Ci,Hi,Wi), fine to coarse, to ``outputs`` maps (N,C,Hi,Wi)."""
        merged = [lateral(x) for lateral, x in zip(self.lateral_convs, maps, strict=True)]
        for index in reversed(range(1, len(merged))):
            size = merged[index - 1].shape[-2:]
            merged[index - 1] = merged[index - 1] + functional.interpolate(merged[index], size=size, mode="nearest")
        outputs = [self.fpn_convs[index](x) for index, x in enumerate(merged)]  # torch 2.8 cannot trace an uneven zip
        for conv in self.fpn_convs[len(merged) :]:
            outputs.append(conv(outputs[-1]))
        return outputs


class _Conv(nn.Module):
    """A convolution and, if ``norm`` gives its eps and momentum, a BatchNorm."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int, norm: tuple[float, float] | None
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel, stride, kernel // 2, bias=norm is None)
        self.bn = None if norm is None else nn.BatchNorm2d(out_channels, eps=norm[0], momentum=norm[1])
        nn.init.xavier_uniform_(self.conv.weight)
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return x if self.bn is None else self.bn(x)
