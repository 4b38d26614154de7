"""The memory format of a model's feature maps, chosen when the model is prepared for a device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Path:
    """Base of modules whose maps may lie in another format.

    Attributes:
        map_format: memory format of the result of :meth:`arrange`; the convolutions after it keep that format.
    """

    map_format: torch.memory_format = torch.contiguous_format

    def arrange(self, maps: Tensor) -> Tensor:
        """(N,C,H,W) in the module's memory format; ``maps`` itself if it lies so already."""
        return maps.contiguous(memory_format=self.map_format)


class ImagePath(_Path):
    """Base of modules that take pictures."""


class BevPath(_Path):
    """Base of modules whose convolutions take bird's-eye-view maps."""


def set_format(model: nn.Module, kind: type[_Path], map_format: torch.memory_format) -> bool:
    """Set the memory format of every module of ``kind`` in ``model``. Returns whether there is one."""
    paths = [module for module in model.modules() if isinstance(module, kind)]
    for path in paths:
        path.map_format = map_format
    return bool(paths)
