"""BEVFormer (Li et al., ECCV 2022)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from portbev.models import Batch, DetectionModel, Detections, with_prepared
from portbev.nn.deform_attention import xavier_uniform
from portbev.nn.detr_decoder import Decoder, ObjectQueries
from portbev.nn.detr_losses import detection_losses
from portbev.nn.fpn import FPN
from portbev.nn.image_backbone import load_backbone
from portbev.nn.map_format import ImagePath
from portbev.nn.misfit import Hint
from portbev.nn.precision import without_gradient
from portbev.nn.resnet import ResNet
from portbev_bevformer import head, history
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.decode import decode
from portbev_bevformer.embeddings import BevQueries, FeatureEmbedding
from portbev_bevformer.encoder import Encoder
from portbev_bevformer.prepared import FrameGeometry, Preparation
from portbev_bevformer.projection import VisiblePairs
from portbev_bevformer.spatial import VisiblePairTensors
from portbev_nuscenes.batches import QueueBatch
from portbev_nuscenes.classes import DETECTION_CLASSES

Maps = list[Tensor]


class Outputs(NamedTuple):
    """``logits`` (layers,B,queries,classes), ``codes`` (layers,B,queries,10), ``bev`` (B,Q,C)."""

    logits: Tensor
    codes: Tensor
    bev: Tensor


class BEVFormer(ImagePath, DetectionModel):
    """Detects boxes in the last frame of a queue of multi-camera frames, in that frame's LIDAR_TOP coordinates.

    In training the earlier frames are encoded without gradient and without dropout. In evaluation a batch is one frame
    of one scene, and the model keeps the BEV of the previous frame (see :meth:`begin_stream`).
    """

    compiled_parts = ("img_backbone", "img_neck")
    weight_hints = (
        Hint(r"cls_branches\.", "other classes", "model.classes"),
        Hint(r"bev_embedding|bev_queries\.embedding|(row|col)_embed", "another BEV size", "model.bev_size"),
        Hint(r"query_embedding|object_queries\.embedding", "other queries", "model.decoder.queries"),
        Hint(r"cams_embeds", "another number of cameras", "model.cameras"),
        Hint(r"level_embeds", "another number of feature levels", "model.levels"),
    )

    def __init__(self, config: BevFormerConfig) -> None:
        super().__init__()
        self.config = config
        self.classes = tuple(config.classes)
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
            reads=image.stages,
        )
        self.img_neck = FPN(self.img_backbone.out_channels, config.channels, outputs=config.levels)
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
        xavier_uniform(self.encoder, self.decoder)
        self._prepare = Preparation(config)
        self._memory = history.Memory()
        model_label = {name: label for label, name in enumerate(config.classes)}
        # From labels of the data set to those of the model (-1: not a class of the model).
        self._model_labels = np.array([model_label.get(name, -1) for name in DETECTION_CLASSES], np.int64)

    def load_pretrained(self) -> list[str]:
        """Load the image backbone's weights, see :func:`portbev.nn.image_backbone.load_backbone`."""
        return load_backbone(self.img_backbone, self.config.image_backbone)

    def preparation(self, *, training: bool) -> Preparation:
        """Visible pairs and motion."""
        return self._prepare

    def begin_stream(self, state: Mapping[str, Tensor] | None = None) -> None:
        """Forget the last frame; with ``state``, go on after the frame that it is of: ``previous_bev`` (1,Q,C)."""
        self._memory = history.Memory()
        if state:
            self._memory = history.Memory(state["previous_bev"].to(self.bev_queries.embedding.weight), history.GIVEN)

    def remembered(self) -> dict[str, Tensor]:
        """``previous_bev`` (1,Q,C) of the last frame, on the CPU; nothing before the first."""
        return {} if self._memory.bev is None else {"previous_bev": self._memory.bev.cpu()}

    def forward(self, batch: Batch) -> Outputs:
        """Outputs for the last frame of each sample's queue.

        Raises:
            DataError: in evaluation, a frame that does not continue the last one, or several samples at once.
        """
        queue = cast(QueueBatch, with_prepared(batch, self._prepare, self.bev_queries.embedding.weight.device))
        previous, has_previous = self._previous_bev(queue)
        maps = self.extract(queue["images"][:, -1])
        bev = self.encode(maps, queue, -1, previous, has_previous)
        if not self.training:
            self._memory = history.Memory(bev.detach(), queue["tokens"][0])
        object_queries = self.object_queries(len(bev))
        decoded = self.decoder(object_queries, bev, [self.config.bev_size], list(self.head.reg_branches))
        logits, codes = self.head(decoded)
        return Outputs(logits, codes, bev)

    def extract(self, images: Tensor) -> Maps:
        """Images (B,N,3,H,W) to the neck's maps (B*N,C,h,w)."""
        return list(self.img_neck(self.img_backbone(self.arrange(images.flatten(0, 1)))))

    def encode(
        self,
        maps: Sequence[Tensor],
        queue: QueueBatch,
        frame: int,
        previous: Tensor | None,
        has_previous: Sequence[bool],
    ) -> Tensor:
        """BEV (B,Q,C) of one frame of the queue.

        Args:
            maps: the neck's maps of the frame's images.
            queue: the batch; prepared here if nobody has done it.
            frame: index of the frame in the queue.
            previous: (B,Q,C) BEV of the previous frame; None if no sample has one.
            has_previous: which samples have a previous frame.
        """
        device = maps[0].device
        geometry: FrameGeometry = with_prepared(queue, self._prepare, device)["prepared"].frame(frame)
        if self.config.quirks.temporal_concat == "official":
            has_previous = [has_previous[0]] * len(has_previous)  # the original looks at the first sample only
        if previous is None or not any(has_previous):
            previous, has_previous = None, [False] * len(has_previous)
        else:
            previous = self.rotate(previous, geometry.turn)
        features, shapes = self.features(maps, queue["lidar2img"].shape[2])
        return cast(
            Tensor,
            self.encoder(
                self.bev_queries(geometry.can_bus),
                self.bev_queries.position(),
                features,
                shapes,
                VisiblePairTensors(geometry, device),
                previous=previous,
                has_previous=has_previous,
                geometry=geometry,
            ),
        )

    def visible_pairs(self, queue: QueueBatch, frame: int) -> VisiblePairs:
        """The (camera, query) pairs of a frame in which the camera sees the query's pillar, on the host."""
        return self._prepare.pairs(queue, frame)

    def rotate(self, bev: Tensor, turn: Tensor) -> Tensor:
        """The previous BEV (B,Q,C), turned to the present heading, see :func:`portbev_bevformer.history.turned`."""
        return history.turned(bev, turn)

    def _previous_bev(self, queue: QueueBatch) -> tuple[Tensor | None, list[bool]]:
        """BEV of the last frame but one, and which samples have such a frame."""
        if self.training:
            return self._encode_history(queue), queue["continues"][:, -1].tolist()
        if len(queue["tokens"]) != 1 or queue["images"].shape[1] != 1:
            raise ValueError("BEVFormer evaluates one frame at a time: a batch of one sample with one frame")
        bev = self._memory.recall(queue["tokens"][0], queue["previous"][0])
        return bev, [bev is not None]

    def _encode_history(self, queue: QueueBatch) -> Tensor | None:
        """BEV of the last frame but one, encoded from all frames before the last; None if the queue has one frame."""
        images = queue["images"][:, :-1]
        frames = images.shape[1]
        if frames == 0:
            return None
        bev: Tensor | None = None
        with without_gradient(), _evaluating(self):
            maps = [x.unflatten(0, (len(images), frames, -1)) for x in self.extract(images.flatten(1, 2))]
            for frame in range(frames):
                frame_maps = [x[:, frame].flatten(0, 1) for x in maps]
                bev = self.encode(frame_maps, queue, frame, bev, queue["continues"][:, frame].tolist())
        return bev

    def losses(self, outputs: Any, batch: Batch, *, mean_over_ranks: Any = None) -> dict[str, Tensor]:
        """Focal and L1 losses per decoder layer, see :func:`portbev.nn.detr_losses.detection_losses`."""
        labels, targets = [], []
        for boxes, label in zip(batch["boxes"], batch["labels"], strict=True):
            model_label = self._model_labels[label]
            labels.append(torch.from_numpy(model_label[model_label >= 0]))
            targets.append(torch.from_numpy(head.encode(boxes[model_label >= 0])))
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
        """The boxes of the last layer, see :func:`portbev_bevformer.decode.decode`."""
        return decode(self.config, outputs.logits[-1], outputs.codes[-1])


@contextlib.contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the body, training mode after it."""
    model.eval()
    try:
        yield
    finally:
        model.train()
