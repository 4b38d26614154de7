"""Targets, losses and decoding on their own against those recorded from the original implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from model_cases import Recorded, recipe

from portbev_bevdepth.config import BevDepthConfig
from portbev_bevdepth.decode import decode
from portbev_bevdepth.losses import detection_losses
from portbev_bevdepth.targets import box_targets

pytestmark = pytest.mark.reference
CONFIG = BevDepthConfig()


@pytest.fixture(scope="module")
def recorded(bevdepth_case: Path) -> Recorded:
    return Recorded(bevdepth_case, "head_unit")


def synthetic_outputs(recorded: Recorded, batch: int) -> list[dict[str, torch.Tensor]]:
    tasks = [
        recipe().synthetic_preds(recorded.case, index, len(names), batch)
        for index, names in enumerate(CONFIG.head.tasks)
    ]
    return [{name: torch.from_numpy(value).requires_grad_() for name, value in task.items()} for task in tasks]


def ground_truth(recorded: Recorded) -> tuple[list[np.ndarray], list[np.ndarray]]:
    count = len([name for name in recorded.arrays if name.startswith("gt_labels")])
    pairs = [recipe().boxes(recorded.case, b) for b in range(count)]
    for b, (boxes, labels) in enumerate(pairs):
        np.testing.assert_array_equal(boxes, recorded.arrays[f"gt_boxes{b}"])
        np.testing.assert_array_equal(labels, recorded.arrays[f"gt_labels{b}"])
    return [boxes for boxes, _ in pairs], [labels for _, labels in pairs]


def test_targets(recorded: Recorded) -> None:
    for task, target in enumerate(box_targets(CONFIG, *ground_truth(recorded))):
        heatmap = target.heatmap.numpy()
        np.testing.assert_array_equal(heatmap.shape, recorded.arrays[f"target/heatmap{task}_shape"])
        np.testing.assert_array_equal(np.argwhere(heatmap), recorded.arrays[f"target/heatmap{task}_nzidx"])
        np.testing.assert_allclose(heatmap[heatmap != 0], recorded.arrays[f"target/heatmap{task}_nzval"], rtol=1e-6)
        for name, value in (("anno", target.code), ("ind", target.cell), ("mask", target.mask)):
            first = recorded.arrays[f"target/{name}{task}_first16"]
            slots = min(16, value.shape[1])
            np.testing.assert_allclose(value.numpy()[:, :slots], first[:, :slots], rtol=1e-5, atol=1e-5)
            assert not first[:, slots:].any()
        counts = [int(target.mask.sum()), int(target.heatmap.eq(1).sum())]
        np.testing.assert_array_equal(counts, recorded.arrays[f"target/counts{task}"])


def test_losses_and_gradients(recorded: Recorded) -> None:
    boxes, labels = ground_truth(recorded)
    outputs = synthetic_outputs(recorded, len(boxes))
    heatmaps, found = detection_losses(CONFIG, outputs, box_targets(CONFIG, boxes, labels))
    total = sum(heatmaps) + sum(found)
    total.backward()
    assert float(total.detach()) == pytest.approx(float(recorded.arrays["synthetic_loss"]), rel=1e-5)
    for terms, name in ((heatmaps, "synthetic_loss_heatmap"), (found, "synthetic_loss_bbox")):
        assert [float(term.detach()) for term in terms] == pytest.approx(list(recorded.arrays[name]), rel=1e-5)
    for name in recorded.names("synthetic_loss_grad/"):
        task, branch = name.split("/")[1:]
        grad = outputs[int(task.removeprefix("task"))][branch].grad
        assert grad is not None
        np.testing.assert_allclose(recipe().checks(grad.numpy()), recorded.arrays[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("nms", ["circle", "size_aware_circle"])
def test_decoding(recorded: Recorded, nms: str) -> None:
    settings = {**CONFIG.decode.model_dump(), "nms": nms}
    config = BevDepthConfig(decode=settings)
    stem = "decode_circle" if nms == "circle" else "decode_size_aware"
    for sample, found in enumerate(decode(config, synthetic_outputs(recorded, 1))):
        np.testing.assert_array_equal(found.labels, recorded.arrays[f"{stem}/{sample}/labels"])
        np.testing.assert_allclose(found.scores, recorded.arrays[f"{stem}/{sample}/scores"], rtol=1e-5)
        np.testing.assert_allclose(found.boxes, recorded.arrays[f"{stem}/{sample}/boxes"], rtol=1e-5, atol=1e-5)
