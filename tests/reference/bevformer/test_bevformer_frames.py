"""Two frames of a scene through the whole model, against numbers recorded from the original.

Gates: ten times what the original itself moves by in float32, or less. Hit masks and what is shown must be equal.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bevformer_recorded import BASE, TINY, Recorded, Seen, build, frame_batch

from portbev.nn.detr import best_queries, within
from portbev_bevformer import head, history
from portbev_bevformer.model import BEVFormer
from portbev_bevformer.projection import project

pytestmark = pytest.mark.reference

NECK, BEV, LOGITS, BOXES = 2e-5, 5e-5, 2e-3, 1.9e-2
MODELS = {"golden": TINY, "base_reduced": BASE}


class Frames:
    """A recorded pair of frames and our own run of it."""

    def __init__(self, case: Path, stem: str, **changes: Any) -> None:
        self.recorded = Recorded(case, stem)
        self.model: BEVFormer = build(self.recorded, **{**MODELS.get(stem, TINY), **changes}).eval()
        self.seen, self.outputs, self.batches, self.rotated = [], [], [], []
        self._keep_rotated()
        self.model.begin_stream()
        for frame in (0, 1):
            batch, seen = frame_batch(self.recorded, [frame], training=False), Seen()
            hooks = seen.watch(self.model)
            with torch.no_grad():
                self.outputs.append(self.model(batch))
            for hook in hooks:
                hook.remove()
            self.batches.append(batch)
            self.seen.append(seen.values)

    def _keep_rotated(self) -> None:
        rotate = self.model.rotate

        def kept(*arguments: Any) -> Any:
            self.rotated.append(rotate(*arguments))
            return self.rotated[-1]

        self.model.rotate = kept  # type: ignore[method-assign]

    def gap(self, name: str, ours: Any) -> float:
        return self.recorded.gap(name, ours)


@pytest.fixture(scope="module", params=list(MODELS))
def frames(bevformer_case: Path, request: pytest.FixtureRequest) -> Frames:
    return Frames(bevformer_case, request.param)


@pytest.mark.parametrize("frame", [0, 1])
def test_image_features(frames: Frames, frame: int) -> None:
    for level, x in enumerate(frames.seen[frame]["neck"]):
        assert frames.gap(f"f{frame}.neck{level}", x) <= NECK
    assert len(frames.seen[frame]["backbone"]) == len(frames.model.config.image_backbone.stages)
    for index, x in enumerate(frames.seen[frame]["backbone"]):
        assert frames.gap(f"f{frame}.backbone{index}", x) <= NECK


@pytest.mark.parametrize("frame", [0, 1])
def test_ego_motion(frames: Frames, frame: int) -> None:
    batch, config = frames.batches[frame], frames.model.config
    assert frames.gap(f"f{frame}.can_bus_used", batch["can_bus"][0, 0].astype(np.float32)) == 0
    moved = history.shift(batch["can_bus"][:, 0], config.cell, config.bev_size)
    assert frames.gap(f"f{frame}.shift", moved.astype(np.float32)) <= 1e-7
    assert frames.gap(f"f{frame}.can_bus_embed", frames.seen[frame]["can_bus_embed"]) <= BEV


def test_the_bev_before_is_turned_as_the_original_turns_it(frames: Frames) -> None:
    assert len(frames.rotated) == 1
    (turned,) = frames.rotated
    shape = frames.recorded.info["f1.prev_bev_rotated"]["shape"]
    assert frames.gap("f1.prev_bev_rotated", turned.reshape(shape)) <= BEV


@pytest.mark.parametrize("frame", [0, 1])
def test_cameras_see_the_same_points(frames: Frames, frame: int) -> None:
    batch, model = frames.batches[frame], frames.model
    padded = tuple(batch["images"].shape[-2:])
    places, seen = project(model.preparation(training=False).points, batch["lidar2img"][:, 0], padded)
    order = np.moveaxis(seen, 0, 1)  # (cameras, samples, queries, anchors)
    assert np.array_equal(np.packbits(order), frames.recorded.arrays[f"f{frame}.bev_mask"])
    assert frames.gap(f"f{frame}.bev_mask_hits", order.any(-1).sum(-1)) == 0
    clamped = np.moveaxis(places, 0, 1).clip(-1, 2)
    assert frames.gap(f"f{frame}.reference_points_cam_clamped", clamped) <= 1e-4


@pytest.mark.parametrize("frame", [0, 1])
def test_encoder(frames: Frames, frame: int) -> None:
    seen, layers = frames.seen[frame], len(frames.model.encoder.layers)
    for name in ("tsa0", "sca0", *(f"enc{index}" for index in range(layers - 1))):
        assert frames.gap(f"f{frame}.{name}", seen[name]) <= BEV, name
    assert frames.gap(f"f{frame}.bev", frames.outputs[frame].bev) <= BEV


@pytest.mark.parametrize("frame", [0, 1])
def test_decoder_and_head(frames: Frames, frame: int) -> None:
    outputs, decoded = frames.outputs[frame], frames.seen[frame]["decoded"]
    assert frames.gap(f"f{frame}.init_reference", decoded.references[0]) <= 1e-6
    assert frames.gap(f"f{frame}.inter_references", torch.stack(decoded.centers())) <= BOXES / 102.4
    assert frames.gap(f"f{frame}.inter_states", torch.stack(decoded.states).transpose(1, 2)) <= LOGITS
    for name, ours, gate in (("cls_scores", outputs.logits, LOGITS), ("bbox_preds", outputs.codes, BOXES)):
        assert frames.gap(f"f{frame}.all_{name}", ours) <= gate
        assert frames.gap(f"f{frame}.all_{name}_last", ours[-1]) <= gate


@pytest.mark.parametrize("frame", [0, 1])
def test_detections(frames: Frames, frame: int) -> None:
    """The best pairs are the same but where scores are closer than the noise, and their boxes and labels agree."""
    recorded, outputs = frames.recorded.arrays, frames.outputs[frame]
    logits, codes = outputs.logits[-1][0], outputs.codes[-1][0]
    scores, index = best_queries(logits, len(recorded[f"f{frame}.topk_index"]))
    close = 5e-4  # LOGITS times the sigmoid's steepest slope
    theirs = recorded[f"f{frame}.topk_index"]
    edge = float(scores[-1]) + close
    ours = set(index.tolist())
    assert all(logits.sigmoid().flatten()[i] <= edge for i in set(theirs.tolist()) ^ ours)
    (found,) = frames.model.decode(outputs, frames.batches[frame])
    boxes = recorded[f"f{frame}.det_boxes"]
    assert abs(len(found.scores) - len(boxes)) <= len(set(theirs.tolist()) ^ ours)
    assert np.abs(np.sort(found.scores)[::-1][: len(boxes)] - recorded[f"f{frame}.det_scores"]).max() <= close
    kept = theirs[within(codes[theirs // logits.shape[1]], frames.model.config.decode.center_range).numpy()]
    assert np.array_equal(kept % logits.shape[1], recorded[f"f{frame}.det_labels"])
    ours_boxes = head.decode(codes[kept // logits.shape[1]].numpy()).astype(np.float64)
    bottom = ours_boxes[:, 2] - ours_boxes[:, 5] / 2
    heading = np.angle(np.exp(1j * (-ours_boxes[:, 6] - np.pi / 2 - boxes[:, 6])))
    same = np.stack([*ours_boxes[:, :2].T, bottom, *ours_boxes[:, [4, 3, 5]].T], -1)
    assert np.abs(same - boxes[:, :6]).max() <= BOXES * max(1.0, np.abs(boxes[:, 3:6]).max())
    assert np.abs(heading).max() <= BOXES
    assert np.abs(ours_boxes[:, 7:] - boxes[:, 7:]).max() <= BOXES


def test_the_aliased_reference_of_early_checkpoints(bevformer_case: Path) -> None:
    frames = Frames(bevformer_case, "alias", aliased_reference=True)
    seen, outputs = frames.seen[1], frames.outputs[1]
    assert frames.gap("f1.tsa0", seen["tsa0"]) <= BEV
    assert frames.gap("f1.enc0", seen["enc0"]) <= BEV
    assert frames.gap("f1.bev", outputs.bev) <= BEV
    assert frames.gap("f1.all_cls_scores_last", outputs.logits[-1]) <= LOGITS
    assert frames.gap("f1.all_bbox_preds_last", outputs.codes[-1]) <= BOXES
