"""The memory format of a model's image path, chosen when the model is prepared for a device."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ImagePath:
    """Base of modules that take pictures.

    Attributes:
        image_format: memory format of the result of :meth:`arrange`; the convolutions after it keep that format.
    """

    image_format: torch.memory_format = torch.contiguous_format

    def arrange(self, images: Tensor) -> Tensor:
        """(N,3,H,W) in the module's memory format; ``images`` itself if that is the contiguous format."""
        if self.image_format == torch.contiguous_format:
            return images
        return images.contiguous(memory_format=self.image_format)


def set_image_format(model: nn.Module, image_format: torch.memory_format) -> bool:
    """Set the memory format of every :class:`ImagePath` in ``model``. Returns whether there is one."""
    paths = [module for module in model.modules() if isinstance(module, ImagePath)]
    for path in paths:
        path.image_format = image_format
    return bool(paths)
