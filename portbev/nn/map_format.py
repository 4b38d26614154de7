"""The memory format of a model's feature maps, chosen when the model is prepared for a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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


def has_formats(model: nn.Module) -> bool:
    """Whether ``model`` has maps whose format can be chosen."""
    return any(isinstance(module, _Path) for module in model.modules())


@contextmanager
def other_formats(model: nn.Module) -> Iterator[None]:
    """Inside, maps that are channels-last are contiguous, and the other way round."""
    paths = [module for module in model.modules() if isinstance(module, _Path)]
    before = [path.map_format for path in paths]
    for path in paths:
        last = path.map_format == torch.channels_last
        path.map_format = torch.contiguous_format if last else torch.channels_last
    try:
        yield
    finally:
        for path, map_format in zip(paths, before, strict=True):
            path.map_format = map_format


def set_format(model: nn.Module, kind: type[_Path], map_format: torch.memory_format) -> bool:
    """Set the memory format of every module of ``kind`` in ``model``. Returns whether there is one."""
    paths = [module for module in model.modules() if isinstance(module, kind)]
    for path in paths:
        path.map_format = map_format
    return bool(paths)
