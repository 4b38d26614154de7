"""A BEVFormer so small that a forward pass takes milliseconds, and batches for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.family import BevFormerFamily
from portbev_bevformer.model import BEVFormer
from portbev_nuscenes.batches import QueueBatch

# widths are multiples of 8, see tests/bevdepth/bevdepth_cases.py
SMALL: dict[str, Any] = {
    "quirks": "fixed",
    "bev_size": (6, 8),
    "channels": 16,
    "heads": 2,
    "hidden": 16,
    "dropout": 0.0,
    "cameras": 3,
    "levels": 2,
    "image_backbone": {"depth": 18, "base_channels": 8, "stages": [4], "frozen_stages": -1, "frozen_norms": False},
    "encoder": {"layers": 2, "spatial_points": 4},
    "decoder": {"layers": 2, "queries": 9},
    "decode": {"max_detections": 20},
}


def small(**changes: Any) -> BevFormerConfig:
    return BevFormerConfig.model_validate({**SMALL, **changes})


def build(seed: int = 0, **changes: Any) -> BEVFormer:
    """The small model with attention offsets and weights that depend on the query, as after some training."""
    torch.manual_seed(seed)
    model = BevFormerFamily().build(small(**changes))
    assert isinstance(model, BEVFormer)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "sampling_offsets" in name or "attention_weights" in name:
                parameter.add_(torch.randn_like(parameter), alpha=0.3)
    return model


def lidar2img(rng: np.random.Generator, cameras: int, size: tuple[int, int]) -> np.ndarray:
    """Cameras all around that look outwards."""
    height, width = size
    matrices = []
    for index in range(cameras):
        yaw = 2 * np.pi * index / cameras + rng.uniform(-0.2, 0.2)
        forward = np.array([np.cos(yaw), np.sin(yaw), 0.0])
        right = np.array([np.sin(yaw), -np.cos(yaw), 0.0])
        rotation = np.stack([right, [0.0, 0.0, -1.0], forward])
        extrinsic = np.eye(4)
        extrinsic[:3, :3], extrinsic[:3, 3] = rotation, -rotation @ rng.uniform(-1, 1, 3)
        intrinsic = np.eye(4)
        intrinsic[0, 0] = intrinsic[1, 1] = 0.5 * width
        intrinsic[0, 2], intrinsic[1, 2] = width / 2, height / 2
        matrices.append(intrinsic @ extrinsic)
    return np.stack(matrices)


def make_batch(samples: int = 2, frames: int = 2, *, seed: int = 0, objects: int = 3) -> QueueBatch:
    """A batch of random scenes; every frame continues the one before it."""
    rng = np.random.default_rng(seed)
    cameras, size = SMALL["cameras"], (32, 64)
    images = rng.standard_normal((samples, frames, cameras, 3, *size)).astype(np.float32)
    matrices = np.stack([[lidar2img(rng, cameras, size) for _ in range(frames)] for _ in range(samples)])
    can_bus = rng.standard_normal((samples, frames, 18))
    continues = np.ones((samples, frames), bool)
    continues[:, 0] = False
    can_bus[:, 0, :3], can_bus[:, 0, 17] = 0, 0
    boxes = rng.uniform(-1, 1, (samples, objects, 9)) * [40, 40, 2, 1, 1, 1, 3, 5, 5] + [0, 0, -1, 3, 2, 2, 0, 0, 0]
    return QueueBatch(
        images=torch.from_numpy(images),
        lidar2img=matrices,
        can_bus=can_bus,
        continues=continues,
        previous=[""] * samples,
        image_size=(28, 64),
        boxes=list(boxes.astype(np.float32)),
        labels=list(rng.integers(0, 10, (samples, objects))),
        tokens=[f"sample {seed} {index}" for index in range(samples)],
        frame2global=np.broadcast_to(np.eye(4), (samples, 4, 4)),
    )


def one(batch: QueueBatch, index: int) -> QueueBatch:
    """Sample ``index`` of a batch as a batch of its own."""
    part = dict(batch)
    for name, value in batch.items():
        if name != "image_size":
            part[name] = value[index : index + 1]  # type: ignore[index]
    return part  # type: ignore[return-value]


def frame(batch: QueueBatch, index: int, previous: str = "") -> QueueBatch:
    """Frame ``index`` of a batch of one sample as an evaluation sees it; its token is ``frame <index>``."""
    part = dict(batch)
    for name in ("images", "lidar2img", "can_bus", "continues"):
        part[name] = batch[name][:, index : index + 1]  # type: ignore[literal-required]
    part["tokens"], part["previous"] = [f"frame {index}"], [previous]
    return part  # type: ignore[return-value]


def total_loss(model: BEVFormer, batch: QueueBatch) -> torch.Tensor:
    return torch.stack(list(model.losses(model(batch), batch).values())).sum()
