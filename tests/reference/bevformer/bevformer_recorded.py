"""Runs of the model on recorded cases: weights and inputs by the case's recipe, imported by official key names."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bevformer_recipe import Recipe, load_recipe
from numpy.typing import NDArray
from torch import Tensor

from portbev_bevformer.checkpoint import export_state
from portbev_bevformer.config import BevFormerConfig
from portbev_bevformer.family import BevFormerFamily
from portbev_bevformer.model import BEVFormer
from portbev_nuscenes.batches import QueueBatch

# what the recorded models are, without dropout: the small one, and the largest one's modules over a grid of 40 x 60
TINY: dict[str, Any] = {"dropout": 0.0}
BASE: dict[str, Any] = {
    "dropout": 0.0,
    "bev_size": (40, 60),
    "levels": 4,
    "encoder": {"layers": 6},
    "image_backbone": {"depth": 101, "style": "caffe", "deformable_stages": (3, 4), "stages": (2, 3, 4)},
}


class Recorded:
    """One recorded file pair: strided arrays, and what is said of them."""

    def __init__(self, case: Path, stem: str) -> None:
        if not (case / f"{stem}.npz").is_file():
            pytest.skip(f"{case.name} has no {stem}.npz")
        self.case: dict[str, Any] = json.loads((case / "case.json").read_text())
        self.recipe: Recipe = load_recipe(case)
        self.info: dict[str, Any] = json.loads((case / f"{stem}.info.json").read_text())
        with np.load(case / f"{stem}.npz") as stored:
            self.arrays = {name: stored[name] for name in stored}

    def gap(self, name: str, ours: Any) -> float:
        """Largest difference to a recorded array, after checking that shape and extent are the recorded ones."""
        described, values = self.info[name], _array(ours)
        assert list(values.shape) == described["shape"], (name, values.shape)
        stored = self.arrays[name].astype(np.float64).reshape(-1)
        chosen = values.astype(np.float64).reshape(-1)[:: described["stride"]]
        assert chosen.size == stored.size, name
        return float(np.abs(chosen - stored).max())


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.detach() if isinstance(value, Tensor) else value)


def build(recorded: Recorded, **config: Any) -> BEVFormer:
    """The model with the case's weights, taken in as anyone's official checkpoint is."""
    family = BevFormerFamily()
    model = family.build(BevFormerConfig.model_validate(config))
    assert isinstance(model, BEVFormer)
    fresh = export_state(model)["state_dict"]
    weights = {
        name: torch.from_numpy(np.array(recorded.recipe.fill(recorded.case["seed"], name, tuple(w.shape), w.numpy())))
        for name, w in fresh.items()
    }
    model.load_state_dict(family.import_state({"state_dict": weights}, model).state)
    return model


def frame_batch(recorded: Recorded, frames: list[int], *, training: bool) -> QueueBatch:
    """Frames of the case's scene, as a queue for training or as one frame of a stream."""
    case, recipe = recorded.case, recorded.recipe
    images = np.stack([recipe.image(case["seed"], frame, case) for frame in frames])
    poses = case["frames"]
    before = [poses[frame - 1] if frame else None for frame in frames]
    if training:
        before[0] = None
    boxes, labels = truth(case)
    return QueueBatch(
        images=torch.from_numpy(images)[None],
        lidar2img=np.broadcast_to(recipe.lidar2img(case), (1, len(frames), 6, 4, 4)),
        can_bus=np.stack([recipe.can_bus_rel(b, poses[frame]) for b, frame in zip(before, frames, strict=True)])[None],
        continues=np.array([[b is not None for b in before]]),
        previous=[f"frame {frames[0] - 1}" if frames[0] and not training else ""],
        image_size=(case["img_hw"][0], case["img_hw"][1]),
        boxes=[boxes],
        labels=[labels],
        tokens=[f"frame {frames[-1]}"],
        frame2global=np.eye(4)[None],
    )


def truth(case: dict[str, Any]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The case's objects, given with z at the bottom, width, length and mmdet3d's heading, as boxes of the project."""
    rows = np.array(case["gt_boxes"], np.float64).reshape(-1, 9)
    boxes = rows[:, [0, 1, 2, 4, 3, 5, 6, 7, 8]]
    boxes[:, 2] += boxes[:, 5] / 2
    boxes[:, 6] = -rows[:, 6] - np.pi / 2
    return boxes.astype(np.float32), np.array(case["gt_labels"], np.int64)


@dataclass
class Seen:
    """What passed through a model in one forward pass."""

    values: dict[str, Any] = field(default_factory=dict)

    def watch(self, model: BEVFormer) -> list[Any]:
        """Hooks that keep inner results; call ``remove`` on each afterwards."""
        first = model.encoder.layers[0]
        watched = {
            "tsa0": first.temporal,
            "sca0": first.spatial,
            "can_bus_embed": model.bev_queries.can_bus_mlp,
            "decoded": model.decoder,
            "neck": model.img_neck,
            "backbone": model.img_backbone,
        }
        watched |= {f"enc{index}": layer for index, layer in enumerate(model.encoder.layers)}
        return [module.register_forward_hook(self._keep(name)) for name, module in watched.items()]

    def _keep(self, name: str) -> Any:
        def hook(module: Any, arguments: Any, output: Any) -> None:
            self.values[name] = output

        return hook
