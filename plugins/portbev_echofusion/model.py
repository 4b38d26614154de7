"""EchoFusion (Liu et al., NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from portbev.errors import DataError
from portbev.models import Batch, DetectionModel, Detections
from portbev.nn.deform_attention import xavier_uniform
from portbev.nn.detr_decoder import Decoder, ObjectQueries
from portbev.nn.detr_losses import detection_losses
from portbev.nn.fpn import FPN
from portbev.nn.image_backbone import load_backbone
from portbev.nn.misfit import Hint
from portbev.nn.resnet import ResNet
from portbev_echofusion import head
from portbev_echofusion.config import LEVELS, EchoFusionConfig
from portbev_echofusion.decode import decode
from portbev_echofusion.encoder import Encoder
from portbev_echofusion.image_neck import ImageNeck
from portbev_echofusion.radar import RadarEmbedding, RadarReader
from portbev_radial.batches import RadialBatch

Maps = list[Tensor]


class Outputs(NamedTuple):
    """``logits`` (layers,B,queries,1), ``codes`` (layers,B,queries,8)."""

    logits: Tensor
    codes: Tensor


class EchoFusion(DetectionModel):
    """Detects boxes in the radar frame from the radar and, unless ``camera`` is false, a camera.

    Without a camera the radar's feature pyramid is the encoder's input, as if its columns were azimuths.
    """

    compiled_parts = ("radar_backbone", "radar_neck", "img_backbone")
    weight_hints = (
        Hint(r"cls_branches\.", "other classes", "the data's classes"),
        Hint(r"query_embedding|queries\.embedding", "other queries", "model.queries"),
        Hint(r"radar_embedder|radar\.embedder", "another radar or radar input", "model.radar"),
    )

    def __init__(self, config: EchoFusionConfig) -> None:
        super().__init__()
        self.config = config
        self.radar = RadarEmbedding(config)
        has_azimuth = config.radar.input == "ra"
        self.radar_backbone = ResNet(
            config.radar_backbone.depth,
            in_channels=self.radar.channels,
            base_channels=config.radar_backbone.base_channels,
            stem_stride=2 if has_azimuth else (2, 1),
            pool_stride=1,
            strides=(1, 2, 2, 2) if has_azimuth else (1, (2, 1), 2, 2),
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
        xavier_uniform(self.encoder, self.decoder)
        self._read = RadarReader(config.radar, config.polar.range_max)

    def load_pretrained(self) -> list[str]:
        """Load the image backbone's weights, see :func:`portbev.nn.image_backbone.load_backbone`."""
        section = self.config.image_backbone
        if self.img_backbone is None:
            return ["model.image_backbone.weights is not read: model.camera is false"] * (section.weights is not None)
        return load_backbone(self.img_backbone, section)

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for each sample.

        Raises:
            DataError: the batch lacks an input of the model, or holds it in another size.
        """
        frames = cast(RadialBatch, batch)
        tokens, shapes = self.encoder(self.fuse(self.radar_pyramid(self._read(frames)), frames))
        decoded = self.decoder(self.queries(len(tokens)), tokens, shapes, list(self.head.reg_branches))
        return Outputs(*self.head(decoded))

    def radar_pyramid(self, radar: Any) -> Maps:
        """The radar's feature pyramid (B,C,R,D), fine to coarse, from the result of :class:`RadarReader`."""
        stages = self.radar_backbone(self.radar(radar))
        return list(self.radar_neck(stages[-LEVELS:]))

    def fuse(self, radar_maps: Sequence[Tensor], frames: RadialBatch) -> Maps:
        """The radar's maps fused with the camera's; the radar's maps themselves if the model has no camera."""
        if self.img_backbone is None or self.img_neck is None:
            return list(radar_maps)
        images = frames["images"]
        if images is None:
            raise DataError("the data come without pictures, the model has a camera", cure="Set data.camera=true")
        stages = self.img_backbone(images)
        return list(self.img_neck(stages[-2:], radar_maps, frames["calibration"], frames["image_size"]))

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
        """Codes (n,8) of each sample's boxes, on the host, without those that are not finite."""
        official = self.config.quirks.heading == "official"
        codes = [torch.from_numpy(head.encode(boxes, official=official)) for boxes in batch["boxes"]]
        return [code[code.isfinite().all(-1)] for code in codes]

    def decode(self, outputs: Any, batch: Batch) -> list[Detections]:
        """The boxes of the last layer, see :func:`portbev_echofusion.decode.decode`."""
        return decode(self.config, outputs.logits[-1], outputs.codes[-1])


def _image_backbone(config: EchoFusionConfig) -> ResNet:
    section = config.image_backbone
    return ResNet(
        section.depth,
        base_channels=section.base_channels,
        frozen_stages=section.frozen_stages,
        zero_init_residual=section.zero_init_residual,
        checkpointing=config.checkpointing,
    )
