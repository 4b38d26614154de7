"""BEVDepth and MatrixVT in eval mode against activations recorded from the original implementation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from model_cases import Run, run_case

from portbev_bevdepth.rays import ring_and_ray

pytestmark = [pytest.mark.reference, pytest.mark.timeout(600)]
STEMS = ("bevdepth_1key_eval", "matrixvt_eval", "bevdepth_2key_da_eval")


@pytest.fixture(scope="module", params=STEMS)
def run(request: pytest.FixtureRequest, bevdepth_case: Path) -> Run:
    return run_case(bevdepth_case, request.param, False)


def test_inputs_are_the_recorded_ones(run: Run) -> None:
    run.recorded.near("img", run.batch["images"], 0)
    run.recorded.near("img_first16", run.batch["images"].flatten()[:16], 0)
    for name in ("sensor2ego", "intrin", "ida", "sensor2sensor"):
        run.recorded.near(f"mats/{name}_mats", run.batch["mats"][name], 1e-4)
    run.recorded.near("mats/bda_mat", run.batch["mats"]["bda"], 1e-4)


def test_geometry_puts_points_where_the_original_does(run: Run) -> None:
    geometry, mats = run.model.backbone.geometry, run.batch["mats"]
    run.recorded.near("frustum", run.model.backbone.frustum, 1e-4)
    for sweep in range(run.config.key_frames):
        points = geometry.frustum_points(mats, sweep)
        run.recorded.near(f"geom_xyz@sweep{sweep}", points, 1e-4)
        run.recorded.near(f"voxel_float@sweep{sweep}", geometry.grid_coordinates(points), 2e-4)
        ours, recorded = run.recorded.pair(f"voxel_idx@sweep{sweep}", geometry.voxel_indices(mats, sweep))
        assert (ours != recorded).mean() <= 1e-4
    inside = geometry.voxel_indices(mats, 0).numpy()
    count = int(((inside >= 0) & (inside < np.array(geometry.size))).all(axis=-1).sum())
    assert count == pytest.approx(int(run.recorded.arrays["voxel_valid_count@sweep0"][0]), rel=1e-4)


def test_every_recorded_activation(run: Run) -> None:
    names = run.recorded.names("act/")
    assert set(names) <= set(run.activations)
    for name in names:
        run.recorded.close(name, run.activations[name], 1e-3)


def test_depth_context_and_bev_features(run: Run) -> None:
    run.recorded.close("depth_softmax", run.outputs.depth, 1e-3)
    run.recorded.close("context", run.context, 1e-3)
    run.recorded.close("bev", run.bev, 1e-3)
    ours, recorded = run.recorded.pair("depth_argmax", run.outputs.depth.argmax(dim=1))
    assert (ours == recorded).mean() >= 0.999


def test_head_outputs(run: Run) -> None:
    for name in run.recorded.names("head/task"):
        task, branch = name.removeprefix("head/task").split("/")
        run.recorded.close(name, run.outputs.tasks[int(task)][branch], 1e-3)


def test_ring_and_ray_matrices(run: Run) -> None:
    if run.config.variant != "matrixvt":
        pytest.skip("no matrices in this variant")
    found = ring_and_ray(run.model.backbone.geometry, run.batch["mats"], 0)
    for name, ours in zip(("ring", "ray"), found, strict=True):
        shape = tuple(run.recorded.arrays[f"{name}_shape"])
        assert ours.shape == shape
        recorded = np.unpackbits(run.recorded.arrays[f"{name}_packed"], axis=-1).reshape(shape)
        assert (ours != recorded).mean() <= 1e-5
        assert ours.sum() == pytest.approx(recorded.sum(), rel=1e-4)


def test_decoded_boxes(run: Run) -> None:
    """Activations agree to 1e-3, so a few candidates near a threshold may differ; the rest must be the same boxes."""
    for sample, found in enumerate(run.model.decode(run.outputs, run.batch)):
        boxes = run.recorded.arrays[f"decode_model/{sample}/boxes"]
        scores = run.recorded.arrays[f"decode_model/{sample}/scores"]
        labels = run.recorded.arrays[f"decode_model/{sample}/labels"]
        assert abs(len(found.scores) - len(scores)) <= 0.01 * len(scores)
        matched = 0
        for box, score, label in zip(boxes, scores, labels, strict=True):
            same = (found.labels == label) & (np.abs(found.scores - score) <= 2e-3)
            matched += bool((same & (np.abs(found.boxes[:, :2] - box[:2]).max(axis=1) <= 1e-2)).any())
        assert matched >= 0.98 * len(scores), f"only {matched} of {len(scores)} boxes are found again"
