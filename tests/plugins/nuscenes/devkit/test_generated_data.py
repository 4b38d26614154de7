"""The official devkit loads, renders and evaluates generated data, and scores a run's predictions as we do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from test_evaluation_equals_devkit import VERSION, devkit_numbers, largest_difference

from portbev_nuscenes.synth import SynthOptions, generate


@pytest.fixture(scope="session")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synth"
    options = SynthOptions(scenes=3, val_scenes=1, samples_per_scene=3, image_size=(400, 224), lidar_steps=360)
    return generate(folder, options, workers=1)


@pytest.fixture(scope="session")
def tables(nuscenes_devkit, generated):
    from nuscenes import NuScenes

    return NuScenes(version=VERSION, dataroot=str(generated), verbose=False)


def test_every_table_and_reverse_index_loads(tables):
    assert len(tables.scene) == 3 and len(tables.sample) == 9
    for sample in tables.sample:
        assert set(sample["data"]) >= {"LIDAR_TOP", "CAM_FRONT", "CAM_BACK"}
        for token in sample["anns"]:
            assert np.isfinite(tables.get_box(token).center).all()


def test_a_sample_renders_in_the_cameras_and_the_lidar(tables, tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    sample = tables.sample[1]
    for channel in ("CAM_FRONT", "LIDAR_TOP"):
        picture = tmp_path / f"{channel}.png"
        underlay = int(np.__version__.split(".", maxsplit=1)[0]) < 2  # the devkit's map code needs numpy 1
        tables.render_sample_data(sample["data"][channel], out_path=str(picture), underlay_map=underlay, verbose=False)
        assert picture.stat().st_size > 10_000
    tables.render_pointcloud_in_image(sample["token"], out_path=str(tmp_path / "points.png"))
    assert (tmp_path / "points.png").stat().st_size > 10_000


def test_points_in_boxes_are_counted_as_the_devkit_counts(tables):
    from nuscenes.utils.data_classes import LidarPointCloud
    from nuscenes.utils.geometry_utils import points_in_box

    counted = 0
    for sample in tables.sample[::4]:
        path, boxes, _ = tables.get_sample_data(sample["data"]["LIDAR_TOP"])
        points = LidarPointCloud.from_file(path).points[:3]
        for box in boxes:
            inside = int(points_in_box(box, points).sum())
            assert inside == tables.get("sample_annotation", box.token)["num_lidar_pts"]
            counted += inside
    assert counted > 100


def test_a_runs_predictions_score_the_same(nuscenes_devkit, generated, tmp_path):
    from portbev.config import load_config
    from portbev.train import train
    from portbev_nuscenes.metrics import evaluate_files

    sets = ["train.epochs=1", "data.image.source_size=[224,400]", "data.image.resize=[0.48,0.55]"]
    config = load_config("bevdepth/tiny_test", [*sets, "model.decode.score_threshold=0.0"])
    run = train(config, backend="cpu", data_root=generated, out=tmp_path / "run")
    results = run.predictions
    ours = evaluate_files(results, generated, VERSION, "synth_val")
    theirs = devkit_numbers(generated, results, "synth_val", tmp_path / "devkit")
    summary = ours.summary()
    for content in (summary, theirs["summary"]):
        content.pop("eval_time")
        content.pop("meta", None)
    assert largest_difference(summary, theirs["summary"]) <= 1e-12
    assert largest_difference(ours.details(), theirs["details"]) <= 1e-12
    assert run.metrics.content["mean_ap"] == pytest.approx(theirs["summary"]["mean_ap"], abs=1e-12)
    assert run.metrics.content["nd_score"] == pytest.approx(theirs["summary"]["nd_score"], abs=1e-12)
