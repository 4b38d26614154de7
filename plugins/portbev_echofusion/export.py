"""EchoFusion as a graph of tensors, from the radar's samples (or a product of them) and the picture.

The signal chain is part of the graph, with the radar's sizes and its calibration table. Where the cells of the polar
view lie in the picture follows from the camera's calibration and is an input.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from portbev.config import RunConfig
from portbev.errors import DataError, ExportError
from portbev.export.interface import Length, State, Tensors
from portbev.models import Batch, DetectionModel, Detections
from portbev_echofusion.config import LEVELS, EchoFusionConfig
from portbev_echofusion.decode import decode
from portbev_echofusion.image_neck import RaySamplings, sampling_locations
from portbev_echofusion.model import EchoFusion
from portbev_echofusion.radar import RadarReader
from portbev_radial.batches import RadialBatch

STRIDE = 16
"""Pixels of a column of the finest level's rays."""
_RADAR = "radar"
_MEANINGS = {
    "radar": (
        "samples (B,chips,values) of the chips, or what data.radar names: rt, rd, adc (B,S,C,A,2) real and imaginary "
        "part, ra (B,S,azimuths)",
        "",
        "",
    ),
    "images": ("pictures (B,3,H,W), scaled, normalised and padded", "", ""),
    "location": (
        "where the cells of the polar view sample the rays of the picture's columns (B,R*Az,Z,2), as (x, y)",
        "width and height of the rays",
        _RADAR,
    ),
    "weight": ("weight of each height (B,R*Az,Z), 0 where the cell is not visible", "", ""),
    "logits": ("logit of each query (B,queries,1)", "", ""),
    "codes": (
        "box of each query (B,queries,8): x, y, log length, log width, z, log height, sin and cos of the heading "
        "relative to the direction to the box",
        "metres",
        _RADAR,
    ),
}


class EchoFusionForms:
    """The forms of the family ``echofusion``."""

    family = "echofusion"

    def form(self, config: RunConfig, *, batch: int = 1) -> EchoFusionForm:
        """That of a configuration.

        Raises:
            ExportError: the model takes point clouds.
        """
        model = cast(EchoFusionConfig, config.model)
        if model.radar.input == "pc":
            what = "a list of points, whose length changes from frame to frame, has no form in an export"
            cure = "Export a model that takes rt, rd, ra or adc"
            raise ExportError(what, where="model.radar.input=pc", cure=cure)
        return EchoFusionForm(model, batch)


class EchoFusionForm:
    """See :class:`portbev.export.interface.ModelForm`."""

    temporal = False
    state: Mapping[str, str] = {}
    postprocessing = "the best queries, and boxes of their codes; no suppression"

    def __init__(self, config: EchoFusionConfig, batch: int) -> None:
        self.config, self.batch = config, batch
        self._check = RadarReader(config.radar, config.polar.range_max).check
        self._samplings = RaySamplings(config)

    def inputs(self, batch: Batch, state: State) -> Tensors:
        """The radar, and with a camera the picture and where the polar view lies in it."""
        frames = cast(RadialBatch, batch)
        _, radar = self._check(frames)
        named: Tensors = {"radar": radar}
        if not self.config.camera:
            return named
        images = frames["images"]
        if images is None:
            raise DataError("the data come without pictures, the model has a camera", cure="Set data.camera=true")
        named["images"] = images
        for level in range(LEVELS):
            width, ranges = -(-images.shape[-1] // (STRIDE * 2**level)), self.config.rows // 2**level
            samplings = self._samplings(level, frames["calibration"], frames["image_size"], width)
            places = [sampling_locations(one, ranges, width) for one in samplings]
            location, weight = (torch.from_numpy(np.stack(parts)) for parts in zip(*places, strict=True))
            named |= {f"location_{level}": location, f"weight_{level}": weight}
        return named

    def outputs(self) -> tuple[str, ...]:
        """The last layer's."""
        return ("logits", "codes")

    def of_model(self, outputs: Any) -> Tensors:
        """The last layer's."""
        return {"logits": outputs.logits[-1], "codes": outputs.codes[-1]}

    def detections(self, outputs: Mapping[str, Tensor]) -> list[Detections]:
        """As the model decodes them."""
        return decode(self.config, outputs["logits"], outputs["codes"])

    def module(self, model: DetectionModel, batch: Batch) -> nn.Module:
        """Radar and picture to boxes."""
        return _Graph(cast(EchoFusion, model), cast(RadialBatch, batch))

    def describe(self, name: str) -> tuple[str, str, str]:
        """Meaning, unit and frame."""
        kind, _, level = name.partition("_")
        meaning, unit, frame = _MEANINGS[kind]
        return (f"{meaning}, on level {level}" if level else meaning), unit, frame

    def lengths(self) -> Mapping[str, Length]:
        """All sizes are fixed."""
        return {}


class _Graph(nn.Module):
    """The model with its signal chain; ``like`` is a batch of the radar that it is for."""

    def __init__(self, model: EchoFusion, like: RadialBatch) -> None:
        super().__init__()
        self.model = model
        config = model.config
        self._reader, self._like = RadarReader(config.radar, config.polar.range_max), like
        self._kind = like["radar_kind"]
        with torch.no_grad():
            self._reader(like)  # the chain's constants are computed here, and not as a part of the graph

    def forward(self, radar: Tensor, images: Tensor | None = None, *places: Tensor) -> tuple[Tensor, ...]:
        model = self.model
        maps = model.radar_pyramid(self._reader.features(radar, self._like, self._kind))
        if images is not None and model.img_backbone is not None and model.img_neck is not None:
            stages = model.img_backbone(images)
            maps = self._fused(stages[-2:], maps, places)
        tokens, shapes = model.encoder(maps)
        decoded = model.decoder(model.queries(len(tokens)), tokens, shapes, list(model.head.reg_branches))
        return model.head.last(decoded)

    def _fused(self, images: list[Tensor], radar: list[Tensor], places: tuple[Tensor, ...]) -> list[Tensor]:
        """As the model's neck, with the places as they are given."""
        neck, fused = self.model.img_neck, []
        assert neck is not None
        for level, (image_map, radar_map) in enumerate(zip(neck.fpn(images), radar, strict=True)):
            view = neck.sample(neck.rays(image_map, level), places[2 * level], places[2 * level + 1])
            fused.append(neck.aggregate(view, radar_map, level))
        return fused
