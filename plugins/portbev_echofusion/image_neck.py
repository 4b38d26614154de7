"""From image columns to a polar bird's-eye view, and what the radar adds to it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from portbev.nn.fpn import FPN
from portbev.ops import ms_deform_attn
from portbev_echofusion.config import LEVELS, EchoFusionConfig
from portbev_echofusion.polar import Calibration, Sight, sight
from portbev_echofusion.positions import sine_encoding
from portbev_echofusion.transformer import Transformer

Maps = list[Tensor]
KEPT = 64  # calibrations whose geometry is remembered


class ImageNeck(nn.Module):
    """Pyramid at strides 16, 32 and 64; per level, image columns become rays of ranges (column attention), the polar
    view reads the rays through the calibration, and its cells look at the radar's cells of the same range (row
    attention). The original's FPN_RADIAL.
    """

    def __init__(self, config: EchoFusionConfig, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.fpn = FPN(in_channels, config.channels, outputs=LEVELS, norm=(1e-5, 0.1))
        section = config.image_neck
        self.columns = nn.ModuleList(self._transformer(section.column_layers) for _ in range(LEVELS))
        self.rows = nn.ModuleList(self._transformer(section.row_layers) for _ in range(LEVELS))
        self._sights: dict[bytes, Sight] = {}

    def _transformer(self, layers: int) -> Transformer:
        config = self.config
        section = config.image_neck
        return Transformer(
            config.channels,
            config.heads,
            section.hidden,
            layers,
            config.dropout,
            chunk=section.chunk,
            checkpointing=config.checkpointing,
        )

    def forward(
        self, images: Sequence[Tensor], radar: Sequence[Tensor], calibration: Calibration, size: tuple[int, int]
    ) -> Maps:
        """Fused maps (B,C,R,Az), fine to coarse.

        Args:
            images: maps of the image backbone at strides 16 and 32.
            radar: maps (B,C,R,D) of the radar's pyramid.
            calibration: of the batch, see :class:`portbev.models.RadialBatch`.
            size: (height, width) of the images before padding.
        """
        fused = []
        for level, (image, echo) in enumerate(zip(self.fpn(images), radar, strict=True)):
            rays = self.rays(image, level)
            fused.append(self.aggregate(self.resample(rays, level, calibration, size), echo, level))
        return fused

    def rays(self, image: Tensor, level: int) -> Tensor:
        """Image map (B,C,H,W) to polar rays (B,C,R,W): a query per range asks the pixels of its column."""
        batch, _, height, width = image.shape
        ranges = self.config.rows // 2**level
        memory = image.permute(0, 3, 2, 1) + self._encoding(height, width, image).transpose(0, 1)
        queries = self._encoding(ranges, width, image).transpose(0, 1).expand(batch, -1, -1, -1)
        found = self.columns[level](queries.flatten(0, 1), memory.flatten(0, 1))
        return found.unflatten(0, (batch, width)).permute(0, 3, 2, 1)

    def resample(self, rays: Tensor, level: int, calibration: Calibration, size: tuple[int, int]) -> Tensor:
        """Polar rays (B,C,R,W) to the polar view (B,C,R,Az): the mean over heights, zero where the camera sees none."""
        batch, _, ranges, width = rays.shape
        seen = self.sights(level, calibration, size, width)
        places, shares = zip(*(_reading(one, ranges, width) for one in seen), strict=True)
        location, weight = (torch.from_numpy(np.stack(x)).to(rays.device) for x in (places, shares))
        heads, queries = self.config.heads, location.shape[1]
        value = rays.flatten(2).transpose(1, 2).unflatten(2, (heads, -1))
        location = location[:, :, None, None].expand(batch, queries, heads, 1, -1, 2)
        weight = weight[:, :, None, None].expand(batch, queries, heads, 1, -1)
        found = ms_deform_attn(value, [(ranges, width)], location.contiguous(), weight.contiguous())
        return found.transpose(1, 2).unflatten(2, (ranges, -1))

    def aggregate(self, view: Tensor, radar: Tensor, level: int) -> Tensor:
        """Polar view (B,C,R,Az) and radar map (B,C,R,D) to the fused map (B,C,R,Az), row by row."""
        batch, _, ranges, columns = view.shape
        queries = view.permute(0, 2, 3, 1) + self._encoding(ranges, columns, view)
        memory = radar.permute(0, 2, 3, 1) + self._encoding(ranges, radar.shape[-1], view)
        found = self.rows[level](queries.flatten(0, 1), memory.flatten(0, 1))
        return found.unflatten(0, (batch, ranges)).permute(0, 3, 1, 2)

    def sights(self, level: int, calibration: Calibration, size: tuple[int, int], width: int) -> list[Sight]:
        """What each sample's camera sees; calibrations that were seen before are not projected again."""
        samples = len(calibration["K"])
        found = []
        for sample in range(samples):
            source = 0 if self.config.quirks.calibration == "official" else sample
            one = {name: np.asarray(value[source], np.float64) for name, value in calibration.items()}
            key = b"".join([repr((level, size, width)).encode(), *(one[name].tobytes() for name in sorted(one))])
            if key not in self._sights:
                if len(self._sights) >= KEPT:
                    self._sights.clear()
                self._sights[key] = sight(self.config, level, one, size, width)
            found.append(self._sights[key])
        return found

    def _encoding(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """(rows, columns, C)."""
        return sine_encoding(rows, columns, self.config.channels, normalize=False, device=like.device)


def _reading(seen: Sight, ranges: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Places (R*Az,Z,2) in the rays as (x, y) shares of the map, and weights (R*Az,Z)."""
    row = np.broadcast_to(seen.row, seen.column.shape)
    places = np.stack([(seen.column + 0.5) / width, (row + 0.5) / ranges], -1)
    heights = len(places)
    return places.reshape(heights, -1, 2).transpose(1, 0, 2), seen.weight.reshape(heights, -1).T
