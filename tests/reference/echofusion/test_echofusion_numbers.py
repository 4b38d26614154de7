"""The model on recorded inputs at the radar's full size, forward and backward, against the original's numbers.

One run serves all tests. It takes minutes and about 5 GB. Features are compared relative to the largest value of the
whole map, for the camera's reach into the hundreds.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from echofusion_recorded import Recorded, Run, build

from portbev.nn.detr_losses import match_all
from portbev_echofusion.checkpoint import export_state

pytestmark = [pytest.mark.reference, pytest.mark.slow, pytest.mark.timeout(3600)]

FEATURES, LOGITS, BOXES = 1e-5, 1e-4, 1e-3
LOSS, GRADIENT = 1e-5, 1e-3  # relative


@pytest.fixture(scope="module")
def run(echofusion_case: Path) -> Run:
    return Run(Recorded(echofusion_case))


def test_the_inputs_are_the_recorded_ones(run: Run) -> None:
    sha, (images, radar) = run.recorded.recipe.sha, (run.batch["images"], run.batch["radar"])
    assert isinstance(images, torch.Tensor) and isinstance(radar, torch.Tensor)
    assert {"img": sha(images.numpy()), "radars_rt": sha(radar.numpy())} == run.recorded.info["input_sha256"]


def test_state_has_the_keys_shapes_and_dtypes_of_the_original(echofusion_case: Path) -> None:
    listed = echofusion_case.parent / "state_dict_keys.json"
    if not listed.is_file():
        pytest.skip("no list of keys")
    theirs = {entry["name"]: (entry["shape"], entry["dtype"]) for entry in json.loads(listed.read_text())}
    state = export_state(build(Recorded(echofusion_case)))["state_dict"]
    assert {name: (list(w.shape), str(w.dtype).removeprefix("torch.")) for name, w in state.items()} == theirs


def test_radar_features(run: Run) -> None:
    unwrapped, embedded = run.seen["embed"]
    assert run.recorded.gap("radar_unwrapped", unwrapped) == 0
    assert run.recorded.gap("radar_embed", embedded) <= FEATURES
    for level in range(3):
        assert run.recorded.gap(f"radar_C{level + 3}", run.seen["radar_stages"][level + 1]) <= FEATURES
        assert run.recorded.gap(f"radar_P{level}", run.seen["radar_maps"][level]) <= FEATURES


def test_image_features(run: Run) -> None:
    for level in range(3):
        assert run.recorded.gap(f"img_C{level + 3}", run.seen["img_stages"][level + 1]) <= FEATURES
        assert run.recorded.gap(f"img_P{level}", run.seen["img_maps"][level]) <= FEATURES


@pytest.mark.parametrize("level", [0, 1, 2])
def test_cells_that_the_camera_sees_are_the_same(run: Run, level: int) -> None:
    (seen,) = run.seen["ray_samplings"][level]
    assert seen.visible.sum() == run.recorded.info["stats"][f"visible{level}"]
    assert np.array_equal(np.packbits(seen.visible), run.recorded.arrays[f"visible{level}"])


@pytest.mark.parametrize("level", [0, 1, 2])
def test_polar_rays_view_and_fusion(run: Run, level: int) -> None:
    for theirs, ours in (("polar_rays", "rays"), ("polar_bev", "resample"), ("fused", "aggregate")):
        assert run.recorded.gap(f"{theirs}{level}", run.seen[ours][level]) <= FEATURES, theirs


def test_encoder_and_decoder(run: Run) -> None:
    decoded = run.seen["decoded"]
    assert run.recorded.gap("enc_memory", run.seen["encoded"][0].transpose(0, 1)) <= FEATURES
    assert run.recorded.gap("dec_states", torch.stack(decoded.states).transpose(1, 2)) <= FEATURES
    assert run.recorded.gap("dec_refs", torch.stack(decoded.centers())) <= FEATURES


def test_outputs_and_targets(run: Run) -> None:
    assert run.recorded.gap("all_cls_scores", run.outputs.logits) <= LOGITS
    assert run.recorded.gap("all_bbox_preds", run.outputs.codes) <= BOXES
    (target,) = run.model.targets(run.batch)
    assert run.recorded.gap("gt_normalized", target) <= 1e-6


def test_objects_are_given_to_the_same_queries(run: Run) -> None:
    targets = run.model.targets(run.batch)
    labels = [torch.zeros(len(target), dtype=torch.int64) for target in targets]
    matches = match_all(run.outputs.logits, run.outputs.codes, labels, targets, run.model.config.loss)
    ours = np.zeros_like(run.recorded.arrays["assigned_gt_inds"])
    for layer, ((queries, objects),) in enumerate(matches):
        ours[layer, queries] = objects + 1
    assert np.array_equal(ours, run.recorded.arrays["assigned_gt_inds"])


def test_detections(run: Run) -> None:
    """The same set; the order of scores closer than the noise may differ."""
    (found,) = run.model.decode(run.outputs, run.batch)
    boxes, scores = run.recorded.arrays["det_boxes"], run.recorded.arrays["det_scores"]
    assert len(found.boxes) == len(boxes)
    bottom = found.boxes[:, :7].copy()
    bottom[:, 2] -= bottom[:, 5] / 2
    nearest = np.linalg.norm(bottom[:, None, :3] - boxes[None, :, :3], axis=-1).argmin(1)
    assert sorted(nearest) == list(range(len(boxes)))
    gap = bottom - boxes[nearest]
    gap[:, 6] = np.angle(np.exp(1j * gap[:, 6]))
    assert np.abs(gap).max() <= BOXES
    assert np.abs(found.scores - scores[nearest]).max() <= LOGITS


def test_losses(run: Run) -> None:
    for theirs in (run.recorded.info["eval_losses"], run.recorded.training["losses"]):
        assert set(run.losses) == set(theirs)
        for name, value in theirs.items():
            assert run.losses[name].item() == pytest.approx(value, rel=LOSS), name
    total = sum(loss.item() for loss in run.losses.values())
    assert total == pytest.approx(run.recorded.training["total"], rel=LOSS)


def test_gradients(run: Run) -> None:
    recorded, gradients = run.recorded.training, run.gradients
    assert sum(g is not None for g in gradients.values()) == recorded["n_params_with_grad"]
    for name, theirs in recorded["grads"].items():
        gradient = gradients[name]
        assert gradient is not None, name
        norm = theirs["norm"]
        assert float(gradient.norm()) == pytest.approx(norm, rel=GRADIENT), name
        assert np.abs(gradient.flatten()[:4].numpy() - theirs["first"]).max() <= GRADIENT * norm, name
        assert float(gradient.double().sum()) == pytest.approx(theirs["sum"], abs=GRADIENT * norm * 32), name
    total = torch.stack([g.norm() for g in gradients.values() if g is not None]).norm()
    assert float(total) == pytest.approx(recorded["grad_total_norm"], rel=GRADIENT)
