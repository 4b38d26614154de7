"""Residual networks (He et al., CVPR 2016) with torchvision's key names. May import: torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor, nn

from portbev.errors import ConfigError


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and the identity (ResNet-18 and 34).

    Keys ``conv1 bn1 conv2 bn2`` and, if the shape changes, ``downsample``.
    """

    expansion: ClassVar[int] = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation before the sum."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,C,H/stride,W/stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x.add_(identity))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions and the identity (ResNet-50 up); the stride is on the 3x3 ("pytorch" style)."""

    expansion: ClassVar[int] = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The normalisation before the sum."""
        return self.bn3

    def forward(self, x: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,4C,H/stride,W/stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        return self.relu(x.add_(identity))


LAYOUTS: dict[int, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]] = {
    18: (BasicBlock, (2, 2, 2, 2)),
    34: (BasicBlock, (3, 4, 6, 3)),
    50: (Bottleneck, (3, 4, 6, 3)),
    101: (Bottleneck, (3, 4, 23, 3)),
}


def stage_channels(depth: int, base_channels: int = 64, stages: int = 4) -> tuple[int, ...]:
    """Channels of each stage's output."""
    block, _ = _layout(depth)
    return tuple(base_channels * 2**i * block.expansion for i in range(stages))


class ResNet(nn.Module):
    """ResNet without the classifier; returns the output of every stage.

    Args:
        depth: 18, 34, 50 or 101.
        in_channels: channels of the input.
        base_channels: channels of the stem and of the first stage's blocks.
        strides: stride of each stage; their number is the number of stages (1 to 4).
        max_pool: whether a 3x3 max-pool of stride 2 follows the stem.
        frozen_stages: -1: everything trains. 0: the stem does not train and its normalisation stays in eval mode;
            k: neither do the first k stages.
        zero_init_residual: start the last normalisation of each block at 0, so that a block starts as the identity.

    Keys: ``conv1 bn1 layer1 .. layer4`` as in torchvision. Convolutions start Kaiming normal (fan out).

    Raises:
        ConfigError: a depth that does not exist.
    """

    def __init__(
        self,
        depth: int,
        *,
        in_channels: int = 3,
        base_channels: int = 64,
        strides: Sequence[int] = (1, 2, 2, 2),
        max_pool: bool = True,
        frozen_stages: int = -1,
        zero_init_residual: bool = True,
    ) -> None:
        super().__init__()
        block, counts = _layout(depth)
        self.frozen_stages = frozen_stages
        self.out_channels = stage_channels(depth, base_channels, len(strides))
        self.conv1 = nn.Conv2d(in_channels, base_channels, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if max_pool else nn.Identity()
        channels = base_channels
        for index, stride in enumerate(strides):
            width = base_channels * 2**index
            setattr(self, f"layer{index + 1}", _stage(block, channels, width, counts[index], stride))
            channels = width * block.expansion
        self._initialise(zero_init_residual)
        for module in self._frozen():
            module.requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N,Ci,H,W) to the outputs of the stages."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = []
        for stage in self.stages():
            x = stage(x)
            outputs.append(x)
        return outputs

    def stages(self) -> list[nn.Module]:
        """The stages in order."""
        return [getattr(self, f"layer{index + 1}") for index in range(len(self.out_channels))]

    def train(self, mode: bool = True) -> ResNet:
        """As usual, but what is frozen stays in eval mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        if self.frozen_stages < 0:
            return []
        return [self.conv1, self.bn1, *self.stages()[: self.frozen_stages]]

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)


def _layout(depth: int) -> tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]:
    if depth not in LAYOUTS:
        raise ConfigError(f"there is no ResNet-{depth}", cure=f"Known depths: {', '.join(map(str, LAYOUTS))}")
    return LAYOUTS[depth]


def _stage(
    block: type[BasicBlock] | type[Bottleneck], in_channels: int, width: int, count: int, stride: int
) -> nn.Sequential:
    out_channels = width * block.expansion
    downsample = None
    if stride != 1 or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    first = block(in_channels, width, stride, downsample)
    return nn.Sequential(first, *(block(out_channels, width) for _ in range(count - 1)))
