"""BEVFormer (Li et al., ECCV 2022)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from portbev.models import Batch, DetectionModel, Detections
from portbev.nn.detr import best_queries, within
from portbev.nn.detr_decoder import Decoder, ObjectQueries
from portbev.nn.detr_losses import detection_losses
from portbev.nn.fpn import FPN
from portbev.nn.image_path import ImagePath
from portbev.nn.resnet import ResNet
from portbev_bevformer import head, history
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.embeddings import BevQueries, FeatureEmbedding
from portbev_bevformer.encoder import Encoder
from portbev_bevformer.projection import Visibility, pillar_points, project, visible_pairs
from portbev_bevformer.spatial import Sight
from portbev_nuscenes.batches import QueueBatch
from portbev_nuscenes.classes import DETECTION_CLASSES

Maps = list[Tensor]


class Outputs(NamedTuple):
    """``logits`` (layers,B,queries,classes), ``codes`` (layers,B,queries,10), ``bev`` (B,Q,C)."""

    logits: Tensor
    codes: Tensor
    bev: Tensor


class BEVFormer(ImagePath, DetectionModel):
    """Multi-camera queue of frames to boxes in the LIDAR_TOP frame of the last one.

    In training the frames before the last are encoded without gradient and without dropout. In evaluation a batch is
    one frame of one scene, and the BEV of the frame before is remembered (see :meth:`begin_stream`).
    """

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        self.config = config
        image = config.image_backbone
        self.img_backbone = ResNet(
            image.depth,
            base_channels=image.base_channels,
            style=image.style,
            deformable_stages=image.deformable_stages,
            frozen_stages=image.frozen_stages,
            frozen_norms=image.frozen_norms,
            zero_init_residual=image.zero_init_residual,
            checkpointing=image.checkpointing,
        )
        widths = [self.img_backbone.out_channels[stage - 1] for stage in image.stages]
        self.img_neck = FPN(widths, config.channels, outputs=config.levels)
        self.features = FeatureEmbedding(config)
        self.bev_queries = BevQueries(config)
        self.encoder = Encoder(config)
        self.object_queries = ObjectQueries(config.decoder.queries, config.channels)
        self.decoder = Decoder(
            config.decoder.layers,
            config.channels,
            config.heads,
            config.hidden,
            levels=1,
            points=config.decoder.points,
            dropout=config.dropout,
        )
        self.head = head.Head(config)
        _xavier_uniform(self.encoder, self.decoder)
        self._points = pillar_points(config.bev_size, config.encoder.anchors, config.point_cloud_range)
        self._memory = history.Memory()
        order = {name: label for label, name in enumerate(config.classes)}
        self._own_label = np.array([order.get(name, -1) for name in DETECTION_CLASSES], np.int64)
        self._label = np.array([DETECTION_CLASSES.index(name) for name in config.classes], np.int64)

    def begin_stream(self) -> None:
        """Forget the last frame."""
        self._memory = history.Memory()

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for the last frame of each sample's queue.

        Raises:
            DataError: in evaluation, a frame that does not continue the last one, or several samples at once.
        """
        queue = cast(QueueBatch, batch)
        previous, exists = self._past(queue)
        maps = self.extract(queue["images"][:, -1])
        bev = self.encode(maps, queue, -1, previous, exists)
        if not self.training:
            self._memory = history.Memory(bev.detach(), queue["tokens"][0])
        start = self.object_queries(len(bev))
        decoded = self.decoder(start, bev, [self.config.bev_size], list(self.head.reg_branches))
        logits, codes = self.head(decoded)
        return Outputs(logits, codes, bev)

    def extract(self, images: Tensor) -> Maps:
        """Images (B,N,3,H,W) to the neck's maps (B*N,C,h,w)."""
        stages = self.img_backbone(self.arrange(images.flatten(0, 1)))
        return list(self.img_neck([stages[stage - 1] for stage in self.config.image_backbone.stages]))

    def encode(
        self, maps: Sequence[Tensor], queue: QueueBatch, frame: int, previous: Tensor | None, exists: Sequence[bool]
    ) -> Tensor:
        """BEV (B,Q,C) of one frame of the queue.

        Args:
            maps: the frame's features. previous: (B,Q,C) BEV of the frame before, None if no sample has one.
            exists: which samples have one.
        """
        can_bus, device = queue["can_bus"][:, frame], maps[0].device
        if self.config.quirks.temporal_concat == "official":
            exists = [exists[0]] * len(exists)  # the original asks the first sample for all of them
        if previous is None or not any(exists):
            previous, exists = None, [False] * len(exists)
        else:
            previous = self.turn(previous, can_bus[:, 17])
        features, shapes = self.features(maps, queue["lidar2img"].shape[2])
        sight = Sight(self.see(queue, frame), device)
        numbers = torch.from_numpy(np.asarray(can_bus, np.float32)).to(device)
        return cast(
            Tensor,
            self.encoder(
                self.bev_queries(numbers),
                self.bev_queries.position(),
                features,
                shapes,
                sight,
                previous=previous,
                exists=exists,
                shift=history.shift(can_bus, self.config.cell, self.config.bev_size),
            ),
        )

    def see(self, queue: QueueBatch, frame: int) -> Visibility:
        """Which camera sees which BEV query, on the host."""
        padded = (int(queue["images"].shape[-2]), int(queue["images"].shape[-1]))
        size = padded if self.config.quirks.image_size == "official" else queue["image_size"]
        places, seen = project(self._points, queue["lidar2img"][:, frame], size)
        return visible_pairs(places, seen, lists_of_first=self.config.quirks.visibility_lists == "official")

    def turn(self, bev: Tensor, degrees: NDArray[np.float64]) -> Tensor:
        """BEV (B,Q,C) of the frame before, turned by each sample's change of heading."""
        rows, columns = self.config.bev_size
        official = self.config.quirks.rotation_center == "official"
        center = history.OFFICIAL_CENTER if official else (columns / 2, rows / 2)
        turned = []
        for sample, angle in zip(bev, degrees, strict=True):
            source = torch.from_numpy(history.rotation_source((rows, columns), float(angle), center))
            inside = (source >= 0).to(bev.device, bev.dtype)
            turned.append(sample.index_select(0, source.clamp(min=0).to(bev.device)) * inside[:, None])
        return torch.stack(turned)

    def _past(self, queue: QueueBatch) -> tuple[Tensor | None, list[bool]]:
        """BEV of the frame before the last, and which samples have one."""
        if self.training:
            return self._history(queue), queue["continues"][:, -1].tolist()
        if len(queue["tokens"]) != 1 or queue["images"].shape[1] != 1:
            raise ValueError("BEVFormer evaluates one frame at a time: a batch of one sample with one frame")
        bev = self._memory.before(queue["tokens"][0], queue["previous"][0])
        return bev, [bev is not None]

    def _history(self, queue: QueueBatch) -> Tensor | None:
        images = queue["images"][:, :-1]
        frames = images.shape[1]
        if frames == 0:
            return None
        bev: Tensor | None = None
        with torch.no_grad(), _evaluating(self):
            together = self.extract(images.flatten(1, 2))
            maps = [x.unflatten(0, (len(images), frames, -1)) for x in together]
            for frame in range(frames):
                here = [x[:, frame].flatten(0, 1) for x in maps]
                bev = self.encode(here, queue, frame, bev, queue["continues"][:, frame].tolist())
        return bev

    def losses(self, outputs: Any, batch: Batch, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        """Focal and L1 losses per decoder layer, see :func:`portbev.nn.detr_losses.detection_losses`."""
        labels, targets = [], []
        for boxes, label in zip(batch["boxes"], batch["labels"], strict=True):
            own = self._own_label[label]
            labels.append(torch.from_numpy(own[own >= 0]))
            targets.append(torch.from_numpy(head.encode(boxes[own >= 0])))
        return detection_losses(
            outputs.logits,
            outputs.codes,
            labels,
            targets,
            self.config.loss,
            self.head.code_weights,
            mean_over_ranks=mean_over_ranks,
        )

    def decode(self, outputs: Any, batch: Batch) -> list[Detections]:
        """The best boxes of the last layer, without suppression (the original's NMSFreeCoder)."""
        section, found = self.config.decode, []
        for logits, codes in zip(*(x[-1].detach().float().cpu() for x in (outputs.logits, outputs.codes)), strict=True):
            scores, index = best_queries(logits, section.max_detections)
            rows = codes[index // logits.shape[1]]
            keep = within(rows, section.center_range)
            if section.score_threshold is not None:
                keep &= scores > section.score_threshold
            labels = self._label[(index % logits.shape[1])[keep].numpy()]
            found.append(Detections(head.decode(rows[keep].numpy()), scores[keep].numpy(), labels))
        return found


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for the body."""
    model.eval()
    try:
        yield
    finally:
        model.train()


def _xavier_uniform(*modules: nn.Module) -> None:
    """Xavier uniform for every matrix of the transformer but those that predict offsets and weights."""
    for module in modules:
        for name, parameter in module.named_parameters():
            if parameter.dim() > 1 and "sampling_offsets" not in name and "attention_weights" not in name:
                nn.init.xavier_uniform_(parameter)
