"""A queue of three frames, forward and backward, against numbers recorded from the original."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bevformer_recorded import TINY, Recorded, build, frame_batch, truth

from portbev.nn.detr_losses import match_all
from portbev_bevformer import head
from portbev_bevformer.checkpoint import official_name
from portbev_bevformer.model import BEVFormer, Outputs

pytestmark = pytest.mark.reference

LOSS, NORM = 1e-4, 5e-3  # relative
LOGITS, BOXES = 2e-3, 1.9e-2


class Step:
    """Losses and gradients of one training step."""

    def __init__(self, case: Path) -> None:
        self.recorded = Recorded(case, "golden")
        if "_losses" not in self.recorded.info:
            pytest.skip(f"{case.name} has no training step")
        self.model: BEVFormer = build(self.recorded, **TINY).train()
        batch = frame_batch(self.recorded, [0, 1, 2], training=True)
        self.batch = batch
        self.outputs: Outputs = self.model(batch)
        self.losses = self.model.losses(self.outputs, batch)
        torch.stack(list(self.losses.values())).sum().backward()

    @property
    def gradients(self) -> dict[str, Any]:
        return {official_name(name): p.grad for name, p in self.model.named_parameters()}


@pytest.fixture(scope="module")
def step(bevformer_case: Path) -> Step:
    return Step(bevformer_case)


def test_the_queue_has_the_recorded_ego_motion(step: Step) -> None:
    for frame in range(3):
        assert step.recorded.gap(f"train.can_bus{frame}", step.batch["can_bus"][0, frame].astype(np.float32)) == 0
    assert step.batch["continues"][0].tolist() == step.recorded.info["_prev_bev_exists"]


def test_outputs(step: Step) -> None:
    assert step.recorded.gap("train.all_cls_scores_last", step.outputs.logits[-1]) <= LOGITS
    assert step.recorded.gap("train.all_bbox_preds_last", step.outputs.codes[-1]) <= BOXES


def test_objects_are_given_to_the_same_queries(step: Step) -> None:
    boxes, labels = truth(step.recorded.case)
    targets = [torch.from_numpy(head.encode(boxes))]
    found = match_all(
        step.outputs.logits, step.outputs.codes, [torch.from_numpy(labels)], targets, step.model.config.loss
    )
    ours = [{int(o): int(q) for q, o in zip(*layer[0], strict=True)} for layer in found]
    theirs = [{int(o): int(q) for o, q in layer.items()} for layer in step.recorded.info["_assign"]]
    assert ours == theirs


def test_losses(step: Step) -> None:
    theirs = step.recorded.info["_losses"]
    assert set(step.losses) == set(theirs)
    for name, value in theirs.items():
        assert step.losses[name].item() == pytest.approx(value, rel=LOSS), name
    total = sum(loss.item() for loss in step.losses.values())
    assert total == pytest.approx(step.recorded.info["_loss_total"], rel=LOSS)


def test_gradient_norms(step: Step) -> None:
    gradients, theirs = step.gradients, step.recorded.info["_grad_norms"]
    assert {name for name, g in gradients.items() if g is not None} == set(theirs)
    for name, value in theirs.items():
        assert float(gradients[name].norm()) == pytest.approx(value, rel=NORM, abs=1e-6), name
    idle = set(step.recorded.info["_params_without_grad"]) - {"pts_bbox_head.code_weights"}
    assert {name for name, g in gradients.items() if g is None} == idle
    total = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
    assert float(total) == pytest.approx(step.recorded.info["_grad_norm_all"], rel=NORM)


def test_gradients(step: Step) -> None:
    names = [name for name in step.recorded.arrays if name.startswith("grad.")]
    assert names
    for name in names:
        gradient = step.gradients[name.removeprefix("grad.")]
        largest = float(gradient.abs().max())
        assert step.recorded.gap(name, gradient) <= NORM * largest, name
