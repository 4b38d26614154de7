"""The memory format of a model's image path, chosen when the model is prepared for a device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePath:
    """Base of the modules through which pictures enter a network.

    Attributes:
        image_format: what :meth:`arrange` gives; the convolutions behind it keep the format.
    """

    image_format: torch.memory_format = torch.contiguous_format

    def arrange(self, images: Tensor) -> Tensor:
        """(N,3,H,W) in the module's memory format; unchanged where that is the contiguous one."""
        if self.image_format == torch.contiguous_format:
            return images
        return images.contiguous(memory_format=self.image_format)


def set_image_format(model: nn.Module, image_format: torch.memory_format) -> bool:
    """Choose the memory format of every image path in ``model``; whether there is any."""
    paths = [module for module in model.modules() if isinstance(module, ImagePath)]
    for path in paths:
        path.image_format = image_format
    return bool(paths)
