"""Residual networks (He et al., CVPR 2016) with torchvision's key names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from portbev.errors import ConfigError
from portbev.nn.contiguous_conv import keep_contiguous
from portbev.nn.deform_conv import ModulatedDeformConv2d
from portbev.nn.recompute import recomputed

Style = Literal["pytorch", "caffe"]
Stride = int | tuple[int, int]
"""One stride for rows and columns, or one for each."""


class BasicBlock(nn.Module):
    """The residual block of ResNet-18 and 34: two 3x3 convolutions, and the input added to their output.

    Keys ``conv1 bn1 conv2 bn2`` and, if the shape changes, ``downsample``.
    """

    expansion: ClassVar[int] = 1

    def __init__(
        self, in_channels: int, channels: int, stride: Stride = 1, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The last normalisation before the input is added."""
        return self.bn2

    def forward(self, x: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,C,H/stride,W/stride)."""
        identity = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        return self.relu(x.add_(identity))


class Bottleneck(nn.Module):
    """The residual block of ResNet-50 and deeper: 1x1, 3x3 and 1x1 convolutions, and the input added to their output.

    Args:
        style: which convolution has the stride: the 3x3 ("pytorch") or the first 1x1 ("caffe").
        deformable: whether the 3x3 is a modulated deformable convolution (DCNv2).
    """

    expansion: ClassVar[int] = 4

    def __init__(
        self,
        in_channels: int,
        channels: int,
        stride: Stride = 1,
        downsample: nn.Module | None = None,
        *,
        style: Style = "pytorch",
        deformable: bool = False,
    ) -> None:
        super().__init__()
        if deformable and not isinstance(stride, int):
            raise ConfigError("a deformable convolution has one stride for rows and columns")
        first, second = (1, stride) if style == "pytorch" else (stride, 1)
        self.conv1 = nn.Conv2d(in_channels, channels, 1, first, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2: nn.Module = (
            ModulatedDeformConv2d(channels, channels, 3, stride=second, padding=1)
            if deformable and isinstance(second, int)
            else nn.Conv2d(channels, channels, 3, second, 1, bias=False)
        )
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    @property
    def last_norm(self) -> nn.BatchNorm2d:
        """The last normalisation before the input is added."""
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


class Stage(nn.Sequential):
    """Blocks in sequence. With ``checkpointing`` each block is computed again in the backward pass."""

    checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        """(N,Ci,H,W) to (N,Co,H',W')."""
        for block in self:
            x = recomputed(block, x) if self.checkpointing and x.requires_grad else block(x)
        return x


class ResNet(nn.Module):
    """ResNet without the classifier; returns the outputs of the stages that are read, and ends at the last of them.

    Attributes:
        out_channels: channels of each output.
        unbuilt: names of the stages beyond the last one that is read: checkpoints may hold them.

    Args:
        depth: 18, 34, 50 or 101.
        in_channels: channels of the input.
        base_channels: channels of the stem and of the first stage's blocks.
        strides: stride of each stage; their number is the number of stages (1 to 4).
        stem_stride: stride of the stem's 7x7 convolution.
        max_pool: whether a 3x3 max-pooling follows the stem.
        pool_stride: stride of the max-pooling.
        frozen_stages: -1: everything trains. 0: the stem does not train and its normalisation stays in eval mode.
            k: the same for the stem and the first k stages.
        frozen_norms: whether all normalisations keep their parameters and their statistics.
        zero_init_residual: start the last normalisation of each block at 0, so that a block starts as the identity.
        style: see :class:`Bottleneck`.
        deformable_stages: stages, counted from 1, whose blocks are deformable; see :class:`Bottleneck`.
        checkpointing: compute each block again in the backward pass instead of keeping its activations.
        reads: stages, counted from 1, whose outputs are returned, in this order. None: all.

    Keys: ``conv1 bn1 layer1 .. layer4`` as in torchvision. Convolutions start Kaiming normal (fan out); the draws are
    those of all stages, so that initial weights do not depend on ``reads``.

    Raises:
        ConfigError: a depth that does not exist; the caffe style or deformable stages at a depth of 18 or 34.
    """

    def __init__(
        self,
        depth: int,
        *,
        in_channels: int = 3,
        base_channels: int = 64,
        strides: Sequence[Stride] = (1, 2, 2, 2),
        stem_stride: Stride = 2,
        max_pool: bool = True,
        pool_stride: Stride = 2,
        frozen_stages: int = -1,
        frozen_norms: bool = False,
        zero_init_residual: bool = True,
        style: Style = "pytorch",
        deformable_stages: Sequence[int] = (),
        checkpointing: bool = False,
        reads: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        block, counts = _layout(depth)
        if block is BasicBlock and (style != "pytorch" or deformable_stages):
            raise ConfigError(f"ResNet-{depth} has no caffe style and no deformable stages", cure="Use depth 50 or 101")
        self.frozen_stages, self.frozen_norms = frozen_stages, frozen_norms
        self.reads = tuple(range(1, len(strides) + 1)) if reads is None else tuple(reads)
        widths = stage_channels(depth, base_channels, len(strides))
        self.out_channels = tuple(widths[stage - 1] for stage in self.reads)
        self.conv1 = nn.Conv2d(in_channels, base_channels, 7, stem_stride, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, pool_stride, 1) if max_pool else nn.Identity()
        channels = base_channels
        for index, stride in enumerate(strides):
            width = base_channels * 2**index
            options = {} if block is BasicBlock else {"style": style, "deformable": index + 1 in deformable_stages}
            stage = _stage(block, channels, width, counts[index], stride, options)
            stage.checkpointing = checkpointing
            setattr(self, f"layer{index + 1}", stage)
            channels = width * block.expansion
        self._initialise(zero_init_residual)
        self.unbuilt = tuple(f"layer{stage}" for stage in range(max(self.reads) + 1, len(strides) + 1))
        for name in self.unbuilt:
            delattr(self, name)
        keep_contiguous(self)
        for module in self._frozen():
            module.requires_grad_(False)
        self.train()  # puts the frozen modules in eval mode from the start

    def forward(self, x: Tensor) -> list[Tensor]:
        """(N,Ci,H,W) to the outputs of the stages that are read."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        outputs = {}
        for number, stage in enumerate(self.stages(), 1):
            x = stage(x)
            if number in self.reads:
                outputs[number] = x
        return [outputs[number] for number in self.reads]

    def stages(self) -> list[nn.Module]:
        """The stages in order, up to the last one that is read."""
        return [getattr(self, f"layer{number}") for number in range(1, max(self.reads) + 1)]

    @property
    def frozen(self) -> bool:
        """Whether some layers neither train nor gather statistics, and keep the weights they start with."""
        return self.frozen_stages >= 0 or self.frozen_norms

    def train(self, mode: bool = True) -> ResNet:
        """Set the training mode; frozen modules stay in eval mode."""
        super().train(mode)
        for module in self._frozen():
            module.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm2d)] if self.frozen_norms else []
        if self.frozen_stages < 0:
            return list(norms)
        return [self.conv1, self.bn1, *self.stages()[: self.frozen_stages], *norms]

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif zero_init_residual and isinstance(module, BasicBlock | Bottleneck):
                nn.init.zeros_(module.last_norm.weight)
        for module in self.modules():
            if isinstance(module, ModulatedDeformConv2d):
                module.reset_parameters()


def unread_weights(model: nn.Module, names: Iterable[str]) -> list[str]:
    """Those of ``names`` that are of stages which a ResNet in ``model`` ends before, so that nobody reads them."""
    networks = [(path, module) for path, module in model.named_modules() if isinstance(module, ResNet)]
    stages = tuple(f"{path}.{stage}.".lstrip(".") for path, module in networks for stage in module.unbuilt)
    return [name for name in names if name.startswith(stages)]


def _layout(depth: int) -> tuple[type[BasicBlock] | type[Bottleneck], tuple[int, ...]]:
    if depth not in LAYOUTS:
        raise ConfigError(f"there is no ResNet-{depth}", cure=f"Known depths: {', '.join(map(str, LAYOUTS))}")
    return LAYOUTS[depth]


def _stage(
    block: type[BasicBlock] | type[Bottleneck],
    in_channels: int,
    width: int,
    count: int,
    stride: Stride,
    options: dict[str, Any],
) -> Stage:
    out_channels = width * block.expansion
    downsample = None
    if stride not in (1, (1, 1)) or in_channels != out_channels:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
        )
    first = block(in_channels, width, stride, downsample, **options)
    return Stage(first, *(block(out_channels, width, **options) for _ in range(count - 1)))
