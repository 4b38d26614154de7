"""BEVFormer as a graph of tensors, with its history as an input and a result.

What follows from calibration and motion is an input. A list of visible (camera, query) pairs has another length in
every frame; here each query has *slots* for the cameras that see it, of which the empty ones weigh nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from portbev.config import RunConfig
from portbev.errors import ExportError
from portbev.export.composed import gathered_attn, sampling
from portbev.export.interface import Length, State, Tensors
from portbev.models import Batch, DetectionModel, Detections
from portbev.nn.deform_attention import Shapes
from portbev.ops.deform_attn import DeformAttnCall
from portbev_bevformer import history
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.decode import decode
from portbev_bevformer.embeddings import CAN_BUS_SIZE
from portbev_bevformer.model import BEVFormer
from portbev_bevformer.prepared import FrameGeometry, Preparation
from portbev_bevformer.projection import VisiblePairs
from portbev_nuscenes.batches import QueueBatch

LEAST_SLOTS = 2
_LIDAR = "LIDAR_TOP"
_MEANINGS = {
    "images": ("pictures (1,N,3,H,W) of N cameras; scaled, normalised and padded", "", ""),
    "camera": ("for each query's slots the camera that is looked into (Q,slots); 0 in an empty slot", "", ""),
    "reference": (
        "where the points of the query's pillar lie in the picture (Q,slots,D,2), as (x, y); 0.5 in an empty slot",
        "width and height of the picture",
        "",
    ),
    "share": ("weight of the slot (Q,slots): 1 / cameras that see the query; 0 in an empty slot", "", ""),
    "turn": ("cell of the previous view that each cell shows (1,Q), row by row; -1 where none", "cells", _LIDAR),
    "shift": (
        "movement (x, y) since the previous frame (1,2)",
        "width and height of the bird's-eye view",
        f"{_LIDAR} of the previous frame",
    ),
    "can_bus": (f"motion of the vehicle (1,{CAN_BUS_SIZE}), see can_bus of a request", "metres, radians, degrees", ""),
    "has_previous": ("whether previous_bev holds the frame before (1); the graph ignores it otherwise", "", ""),
    "previous_bev": ("the result bev of the frame before (1,Q,C); zeros at the beginning of a scene", "", _LIDAR),
    "logits": ("logit of each class for each query (1,queries,classes)", "", ""),
    "codes": (
        "box of each query (1,queries,10): x, y, log width, log length, z, log height, sin and cos of "
        "-yaw - pi/2, velocity (x, y)",
        "metres, metres per second",
        _LIDAR,
    ),
    "bev": ("features of the bird's-eye view (1,Q,C), to be given with the scene's next frame", "", _LIDAR),
}


class BevFormerForms:
    """The forms of the family ``bevformer``."""

    family = "bevformer"

    def form(self, config: RunConfig, *, batch: int = 1) -> BevFormerForm:
        """That of a configuration.

        Raises:
            ExportError: several samples at once.
        """
        if batch != 1:
            raise ExportError("a model with history takes one frame at a time", where="--batch", cure="Leave it out")
        return BevFormerForm(cast(BevFormerConfig, config.model))


class BevFormerForm:
    """See :class:`portbev.export.interface.ModelForm`."""

    batch = 1
    temporal = True
    state: Mapping[str, str] = {"bev": "previous_bev"}
    postprocessing = "the best queries, and boxes of their codes; no suppression"

    def __init__(self, config: BevFormerConfig) -> None:
        self.config = config
        self._prepare = Preparation(config)

    def inputs(self, batch: Batch, state: State) -> Tensors:
        """Pictures, the slots of the queries, motion, and the previous view."""
        queue, config = cast(QueueBatch, batch), self.config
        slots = slots_of(self._prepare.pairs(queue, -1), config.bev_size[0] * config.bev_size[1])
        can_bus = np.asarray(queue["can_bus"])[:, -1]
        shift = history.shift(can_bus, config.cell, config.bev_size).astype(np.float32)
        previous = state.get("previous_bev")
        empty = torch.zeros(1, config.bev_size[0] * config.bev_size[1], config.channels)
        return {
            "images": queue["images"][:, -1],
            "camera": slots.camera,
            "reference": slots.reference,
            "share": slots.share,
            "turn": torch.from_numpy(self._prepare.turn(can_bus[:, 17])),
            "shift": torch.from_numpy(shift),
            "can_bus": torch.from_numpy(can_bus.astype(np.float32)),
            "has_previous": torch.tensor([previous is not None]),
            "previous_bev": empty if previous is None else previous,
        }

    def outputs(self) -> tuple[str, ...]:
        """The last layer's, and the view."""
        return ("logits", "codes", "bev")

    def of_model(self, outputs: Any) -> Tensors:
        """The last layer's."""
        return {"logits": outputs.logits[-1], "codes": outputs.codes[-1], "bev": outputs.bev}

    def detections(self, outputs: Mapping[str, Tensor]) -> list[Detections]:
        """As the model decodes them."""
        return decode(self.config, outputs["logits"], outputs["codes"])

    def module(self, model: DetectionModel, batch: Batch) -> nn.Module:
        """Pictures, geometry and the previous view to boxes and the present view."""
        return _Graph(cast(BEVFormer, model))

    def describe(self, name: str) -> tuple[str, str, str]:
        """Meaning, unit and frame."""
        return _MEANINGS[name]

    def lengths(self) -> Mapping[str, Length]:
        """The number of slots is that of the cameras that see one query at most."""
        most = max(LEAST_SLOTS + 1, self.config.cameras)
        return {name: Length(1, "slots", LEAST_SLOTS, most) for name in ("camera", "reference", "share")}


class Slots(NamedTuple):
    """Q queries with k slots each, those of the cameras in their order.

    Attributes:
        camera: (Q,k) int64.
        reference: (Q,k,D,2) float32.
        share: (Q,k) float32.
    """

    camera: Tensor
    reference: Tensor
    share: Tensor

    def attend(self, value: Tensor, shapes: Shapes, offsets: Tensor, logits: Tensor) -> Tensor:
        """A row of samples for each slot, those of a query one after the other."""
        queries, count, points, _ = self.reference.shape
        owner = torch.arange(queries, device=value.device)[:, None].expand(queries, count).reshape(-1)
        flat = [int(size) for shape in shapes for size in shape]
        reference = self.reference.reshape(queries * count, 1, points, 2)
        # the call's counts are for kernels that take lists of rows: nothing here reads them
        call = DeformAttnCall(value, offsets, logits, reference, owner, owner, flat, False, False)
        return gathered_attn(value, list(shapes), *sampling(call), self.camera.reshape(-1))

    def mean(self, rows: Tensor, query: Tensor) -> Tensor:
        """Each query's slots with their weights."""
        return (rows.reshape(*self.share.shape, -1) * self.share[..., None]).sum(1)


def slots_of(pairs: VisiblePairs, queries: int) -> Slots:
    """The visible pairs of one sample as slots, at least :data:`LEAST_SLOTS` a query."""
    image = np.repeat(np.arange(len(pairs.counts)), pairs.counts)
    order = np.argsort(pairs.query, kind="stable")  # by query, and within one by camera
    owner = pairs.query[order]
    slot = np.arange(len(owner)) - np.searchsorted(owner, owner)
    count = max(LEAST_SLOTS, int(slot.max(initial=0)) + 1)
    camera = np.zeros((queries, count), np.int64)
    reference = np.full((queries, count, *pairs.reference.shape[1:]), 0.5, np.float32)
    share = np.zeros((queries, count), np.float32)
    camera[owner, slot], reference[owner, slot] = image[order], pairs.reference[order]
    share[owner, slot] = pairs.weight[owner]
    return Slots(torch.from_numpy(camera), torch.from_numpy(reference), torch.from_numpy(share))


class _Graph(nn.Module):
    """The model, one frame of one scene at a time, with history and geometry as tensors."""

    def __init__(self, model: BEVFormer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        images: Tensor,
        camera: Tensor,
        reference: Tensor,
        share: Tensor,
        turn: Tensor,
        shift: Tensor,
        can_bus: Tensor,
        has_previous: Tensor,
        previous_bev: Tensor,
    ) -> tuple[Tensor, ...]:
        model = self.model
        features, shapes = model.features(model.extract(images), images.shape[1])
        geometry = FrameGeometry((), camera, reference, share, turn, shift, can_bus, has_previous)
        bev = model.encoder(
            model.bev_queries(can_bus),
            model.bev_queries.position(),
            features,
            shapes,
            Slots(camera, reference, share),
            previous=model.rotate(previous_bev, turn),
            has_previous=None,
            geometry=geometry,
        )
        queries = model.object_queries(len(bev))
        decoded = model.decoder(queries, bev, [model.config.bev_size], list(model.head.reg_branches))
        return (*model.head.last(decoded), bev)
