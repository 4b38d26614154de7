"""The camera's polar bird's-eye view, computed from image columns, and its fusion with the radar."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from portbev.nn.fpn import FPN
from portbev.ops import ms_deform_attn
from portbev_echofusion.config import LEVELS, EchoFusionConfig
from portbev_echofusion.polar import Calibration, RaySampling, ray_sampling
from portbev_echofusion.positions import sine_encoding
from portbev_echofusion.transformer import Transformer

Maps = list[Tensor]
MAX_CACHED = 64  # ray samplings kept, each of one calibration and level


class ImageNeck(nn.Module):
    """Feature pyramid at strides 16, 32 and 64, and the fusion of each level with the radar. The original's FPN_RADIAL.

    On each level, column attention turns every image column into a ray of ranges, the polar view samples the rays where
    the calibration says its cells are, and row attention lets each cell attend to the radar's cells of the same range.
    """

    def __init__(self, config: EchoFusionConfig, in_channels: Sequence[int]) -> None:
        super().__init__()
        self.config = config
        self.fpn = FPN(in_channels, config.channels, outputs=LEVELS, norm=(1e-5, 0.1))
        section = config.image_neck
        self.columns = nn.ModuleList(self._transformer(section.column_layers) for _ in range(LEVELS))
        self.rows = nn.ModuleList(self._transformer(section.row_layers) for _ in range(LEVELS))
        self._ray_samplings = RaySamplings(config)
        self._placed: dict[int, tuple[RaySampling, Tensor, Tensor]] = {}

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
            calibration: that of the batch, see :class:`portbev_radial.batches.RadialBatch`.
            size: (height, width) of the images before padding.
        """
        fused = []
        for level, (image_map, radar_map) in enumerate(zip(self.fpn(images), radar, strict=True)):
            rays = self.rays(image_map, level)
            fused.append(self.aggregate(self.resample(rays, level, calibration, size), radar_map, level))
        return fused

    def rays(self, image: Tensor, level: int) -> Tensor:
        """Image map (B,C,H,W) to polar rays (B,C,R,W): a query per range attends to the pixels of its column."""
        batch, _, height, width = image.shape
        ranges = self.config.rows // 2**level
        memory = image.permute(0, 3, 2, 1) + self._encoding(height, width, image).transpose(0, 1)
        queries = self._encoding(ranges, width, image).transpose(0, 1).expand(batch, -1, -1, -1)
        rays = self.columns[level](queries.flatten(0, 1), memory.flatten(0, 1))
        return rays.unflatten(0, (batch, width)).permute(0, 3, 2, 1)

    def resample(self, rays: Tensor, level: int, calibration: Calibration, size: tuple[int, int]) -> Tensor:
        """Polar rays (B,C,R,W) to the polar view (B,C,R,Az): a mean over heights, zero at invisible cells."""
        ranges, width = rays.shape[2:]
        samplings = self.ray_samplings(level, calibration, size, width)
        places = [self._places(one, ranges, width, rays.device) for one in samplings]
        location, weight = (torch.stack(parts) for parts in zip(*places, strict=True))
        return self.sample(rays, location, weight)

    def sample(self, rays: Tensor, location: Tensor, weight: Tensor) -> Tensor:
        """Polar rays (B,C,R,W) to the polar view (B,C,R,Az), at the places (B,R*Az,Z,2) and weights (B,R*Az,Z) of
        :func:`sampling_locations`."""
        batch, _, ranges, width = rays.shape
        heads, queries = self.config.heads, location.shape[1]
        value = rays.flatten(2).transpose(1, 2).unflatten(2, (heads, -1))
        location = location[:, :, None, None].expand(batch, queries, heads, 1, -1, 2)
        weight = weight[:, :, None, None].expand(batch, queries, heads, 1, -1)
        view = ms_deform_attn(value, [(ranges, width)], location.contiguous(), weight.contiguous())
        return view.transpose(1, 2).unflatten(2, (ranges, -1))

    def aggregate(self, view: Tensor, radar: Tensor, level: int) -> Tensor:
        """Polar view (B,C,R,Az) and radar map (B,C,R,D) to the fused map (B,C,R,Az), range by range."""
        batch, _, ranges, columns = view.shape
        queries = view.permute(0, 2, 3, 1) + self._encoding(ranges, columns, view)
        memory = radar.permute(0, 2, 3, 1) + self._encoding(ranges, radar.shape[-1], view)
        fused = self.rows[level](queries.flatten(0, 1), memory.flatten(0, 1))
        return fused.unflatten(0, (batch, ranges)).permute(0, 3, 1, 2)

    def ray_samplings(
        self, level: int, calibration: Calibration, size: tuple[int, int], width: int
    ) -> list[RaySampling]:
        """The ray sampling of each sample; those of earlier calibrations are cached."""
        return self._ray_samplings(level, calibration, size, width)

    def _places(self, sampling: RaySampling, ranges: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """:func:`sampling_locations` on the device; kept there as long as the sampling is."""
        known = self._placed.get(id(sampling))
        if known is not None and known[0] is sampling and known[1].device == device:
            return known[1:]
        with torch.inference_mode(False):  # what is kept may be needed in training
            arrays = (np.ascontiguousarray(part) for part in sampling_locations(sampling, ranges, width))
            location, weight = (torch.from_numpy(part).to(device, non_blocking=True) for part in arrays)
        if type(location) is Tensor:  # a tracer's tensors have no values
            if len(self._placed) >= MAX_CACHED:
                self._placed.clear()
            self._placed[id(sampling)] = sampling, location, weight
        return location, weight

    def _encoding(self, rows: int, columns: int, like: Tensor) -> Tensor:
        """Positional encoding (rows, columns, C) on the device of ``like``."""
        return sine_encoding(rows, columns, self.config.channels, normalize=False, device=like.device)


class RaySamplings:
    """The ray samplings of batches; those of earlier calibrations are kept, up to :data:`MAX_CACHED`."""

    def __init__(self, config: EchoFusionConfig) -> None:
        self.config = config
        self._known: dict[bytes, RaySampling] = {}

    def __call__(self, level: int, calibration: Calibration, size: tuple[int, int], width: int) -> list[RaySampling]:
        """That of each sample on a level whose rays have ``width`` columns."""
        samplings = []
        for sample in range(len(calibration["K"])):
            source = 0 if self.config.quirks.calibration == "official" else sample
            one = {name: np.asarray(value[source], np.float64) for name, value in calibration.items()}
            key = b"".join([repr((level, size, width)).encode(), *(one[name].tobytes() for name in sorted(one))])
            if key not in self._known:
                if len(self._known) >= MAX_CACHED:
                    self._known.clear()
                self._known[key] = ray_sampling(self.config, level, one, size, width)
            samplings.append(self._known[key])
        return samplings


def sampling_locations(
    sampling: RaySampling, ranges: int, width: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sampling locations (R*Az,Z,2) as (x, y) in units of the rays' width and height, and weights (R*Az,Z)."""
    row = np.broadcast_to(sampling.row, sampling.column.shape)
    locations = np.stack([(sampling.column + 0.5) / width, (row + 0.5) / ranges], -1)
    heights = len(locations)
    return locations.reshape(heights, -1, 2).transpose(1, 0, 2), sampling.weight.reshape(heights, -1).T
