"""EchoFusion (Liu et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from portbev.errors import DataError
from portbev.models import Batch, DetectionModel, Detections
from portbev.nn.detr import within
from portbev.nn.detr_decoder import Decoder, ObjectQueries
from portbev.nn.detr_losses import detection_losses
from portbev.nn.fpn import FPN
from portbev.nn.resnet import ResNet
from portbev_echofusion import head
from portbev_echofusion.config import LEVELS, EchoFusionConfig
from portbev_echofusion.encoder import Encoder
from portbev_echofusion.image_neck import ImageNeck
from portbev_echofusion.radar import RadarEmbedding, RadarReader
from portbev_radial.batches import RadialBatch
from portbev_radial.classes import CAR

Maps = list[Tensor]


class Outputs(NamedTuple):
    """``logits`` (layers,B,queries,1), ``codes`` (layers,B,queries,8)."""

    logits: Tensor
    codes: Tensor


class EchoFusion(DetectionModel):
    """Radar and, if it has one, camera to boxes in the radar frame.

    Without a camera the radar's pyramid goes straight to the encoder, as if its columns were azimuths.
    """

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        self.config = config
        self.radar = RadarEmbedding(config)
        azimuth = config.radar.input in ("ra",)
        self.radar_backbone = ResNet(
            config.radar_backbone.depth,
            in_channels=self.radar.channels,
            base_channels=config.radar_backbone.base_channels,
            stem_stride=2 if azimuth else (2, 1),
            pool_stride=1,
            strides=(1, 2, 2, 2) if azimuth else (1, (2, 1), 2, 2),
            zero_init_residual=config.radar_backbone.zero_init_residual,
            checkpointing=config.checkpointing,
        )
        self.radar_neck = FPN(self.radar_backbone.out_channels[-LEVELS:], config.channels, norm=(1e-3, 0.01))
        self.img_backbone = _image_backbone(config) if config.camera else None
        self.img_neck = None if self.img_backbone is None else ImageNeck(config, self.img_backbone.out_channels[-2:])
        self.encoder = Encoder(config)
        self.queries = ObjectQueries(config.decoder.queries, config.channels)
        self.decoder = Decoder(
            config.decoder.layers,
            config.channels,
            config.heads,
            config.hidden,
            levels=LEVELS,
            points=config.decoder.points,
            dropout=config.dropout,
        )
        self.head = head.Head(config)
        _spread(self.encoder, self.decoder)
        self._read = RadarReader(config.radar)

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for each sample.

        Raises:
            DataError: the batch lacks what the model takes, or has it in another size.
        """
        frames = cast(RadialBatch, batch)
        tokens, shapes = self.encoder(self.fuse(self.echoes(self._read(frames)), frames))
        decoded = self.decoder(self.queries(len(tokens)), tokens, shapes, list(self.head.reg_branches))
        return Outputs(*self.head(decoded))

    def echoes(self, radar: Any) -> Maps:
        """The radar's pyramid (B,C,R,D), fine to coarse, of what :class:`RadarReader` gives."""
        stages = self.radar_backbone(self.radar(radar))
        return list(self.radar_neck(stages[-LEVELS:]))

    def fuse(self, echoes: Sequence[Tensor], frames: RadialBatch) -> Maps:
        """The radar's maps with the camera's; the radar's own where the model has no camera."""
        if self.img_backbone is None or self.img_neck is None:
            return list(echoes)
        images = frames["images"]
        if images is None:
            raise DataError("the data come without pictures, the model has a camera", cure="Set data.camera=true")
        stages = self.img_backbone(images)
        return list(self.img_neck(stages[-2:], echoes, frames["calibration"], frames["image_size"]))

    def losses(self, outputs: Any, batch: Batch, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        """Focal and L1 losses per decoder layer, see :func:`portbev.nn.detr_losses.detection_losses`."""
        targets = self.targets(batch)
        return detection_losses(
            outputs.logits,
            outputs.codes,
            [torch.zeros(len(target), dtype=torch.int64) for target in targets],
            targets,
            self.config.loss,
            self.head.code_weights,
            mean_over_ranks=mean_over_ranks,
        )

    def targets(self, batch: Batch) -> list[Tensor]:
        """Codes (n,8) of each sample's boxes, on the host; those that are not finite are left out."""
        official = self.config.quirks.heading == "official"
        codes = [torch.from_numpy(head.encode(boxes, official=official)) for boxes in batch["boxes"]]
        return [code[code.isfinite().all(-1)] for code in codes]

    def decode(self, outputs: Any, batch: Batch) -> list[Detections]:
        """The best queries of the last layer, without suppression (the original's NMSFreeCoder)."""
        section, found = self.config.decode, []
        official = self.config.quirks.heading == "official"
        last = (values[-1].detach().float().cpu() for values in (outputs.logits, outputs.codes))
        for logits, codes in zip(*last, strict=True):
            scores = logits[:, 0].sigmoid()
            best = scores.topk(min(section.max_detections, len(scores)))
            rows = codes[best.indices]
            keep = within(rows, section.center_range)
            labels = np.full(int(keep.sum()), CAR, np.int64)
            boxes = head.decode(rows[keep].numpy(), official=official)
            found.append(Detections(boxes, best.values[keep].numpy(), labels))
        return found


def _image_backbone(config: EchoFusionConfig) -> ResNet:
    section = config.image_backbone
    return ResNet(
        section.depth,
        base_channels=section.base_channels,
        frozen_stages=section.frozen_stages,
        zero_init_residual=section.zero_init_residual,
        checkpointing=config.checkpointing,
    )


def _spread(*modules: nn.Module) -> None:
    """Xavier uniform for every matrix of the transformer but those that predict offsets and weights."""
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1 and "sampling_offsets" not in name and "attention_weights" not in name:
                nn.init.xavier_uniform_(parameter)
