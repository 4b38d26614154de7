"""Pictures of a run on radar and camera."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portbev.boxes import box_corners
from portbev.config import load_config
from portbev.errors import PortbevError
from portbev.geometry import project, transform
from portbev.testing.runs import make_record, write_run
from portbev.viz import open_views
from portbev.viz.scene import Objects
from portbev_radial.config import RadialData
from portbev_radial.dataset import RadialDataset
from portbev_radial.metrics import bottom_rows, frame_boxes, write_boxes
from portbev_radial.page import AzimuthMap, RadialView, draw_radar, draw_radial, to_pixels
from portbev_radial.synth import RadialSynthOptions, generate

OPTIONS = RadialSynthOptions(
    sequences=3, frames=2, samples=128, chirps=64, azimuths=61, image_size=(192, 108), reach=50.0
)


def portbev(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "portbev", *map(str, arguments)], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generate(tmp_path_factory.mktemp("viz_radial") / "recordings", OPTIONS, workers=1)


@pytest.fixture
def run(recordings: Path, tmp_path: Path) -> Path:
    """A run whose predictions are the annotations."""
    folder = tmp_path / "run"
    record = make_record(
        load_config("echofusion/tiny_test", ["name=test", "data.eval_split=test"]),
        backend={"name": "npu", "label": "npu (emulated)", "emulated": True},
        data={"root": str(recordings), "version": "raw", "benchmark": "radial"},
    )
    write_run(folder, record)
    dataset = RadialDataset(RadialData(eval_split="test", radar="none"), recordings, "eval", seed=0)
    rows = [bottom_rows(boxes := dataset.truth(i)[0], np.linspace(0.4, 0.9, len(boxes))) for i in range(len(dataset))]
    write_boxes(folder / "predictions.json", frame_boxes(rows, dataset.tokens, scored=True))
    return folder


def test_equal_boxes_of_predictions_and_annotations_coincide(run):
    views = open_views(run)
    view = views.view(views.tokens[0])
    assert len(view.truth) and len(view.found) == len(view.truth)
    np.testing.assert_allclose(view.found.boxes[:, :7], view.truth.boxes[:, :7], atol=1e-9)


def test_boxes_stand_in_the_picture_where_the_lens_puts_them(run):
    """The straightened picture's pinhole agrees with the calibration once the distortion is taken off."""
    views = open_views(run)
    view = views.view(views.tokens[0])
    camera, source = view.camera, views.dataset.source.camera
    corners = box_corners(view.truth.boxes).reshape(-1, 3)
    found = project(camera.intrinsic, transform(camera.global2camera, corners))
    pinhole = type(source)(source.intrinsic, np.zeros(5), source.rotation, source.translation)
    expected = pinhole.project(corners)
    ahead = expected[:, 2] > 0.5
    assert ahead.any()
    np.testing.assert_allclose(found[ahead, :2], expected[ahead, :2], atol=1e-6)


def test_an_echo_shines_on_the_map_where_its_range_and_azimuth_are():
    amplitude = np.ones((128, 61))
    azimuth = np.linspace(-75, 75, 61)
    amplitude[64, 50] = 1000.0  # 50 degrees to the left, at half the reach
    nothing = Objects(np.zeros((0, 9)), np.zeros(0, np.int64), np.zeros(0))
    size = (480, 400)
    picture = draw_radar(
        RadialView("0", None, AzimuthMap(amplitude, azimuth, 80.0), 80.0, nothing, nothing), nothing, size
    )
    left = picture[:, :230].sum(2)  # without the rings' labels
    brightest = np.unravel_index(left.argmax(), left.shape)
    angle = np.radians(50)
    u, v = to_pixels(np.array([40 * np.cos(angle), 40 * np.sin(angle)]), size, 80.0)
    assert abs(brightest[1] - u) < 6 and abs(brightest[0] - v) < 6


def test_annotated_vehicles_echo_on_the_map_of_generated_recordings(run):
    """The map's median level inside footprints is above its median level elsewhere at the same ranges."""
    views = open_views(run)
    gains = []
    for token in views.tokens:
        view = views.view(token)
        radar = view.radar
        for x, y in view.truth.boxes[:, :2]:
            row = round(np.hypot(x, y) / radar.reach * len(radar.amplitude))
            column = np.abs(radar.azimuth - np.degrees(np.arctan2(y, x))).argmin()
            near = radar.amplitude[max(row - 4, 0) : row + 2]
            gains.append(near[:, max(column - 1, 0) : column + 2].max() / np.median(near.max(0)))
    assert len(gains) > 3 and np.median(gains) > 1.1


def test_command_writes_the_same_pictures_again(run, tmp_path):
    result = portbev("viz", run, "--samples", 2)
    assert result.returncode == 0, result.stderr
    paths = result.stdout.split()
    assert len(paths) == 2 and {Path(path).parent for path in paths} == {run / "pictures"}
    with Image.open(paths[0]) as picture:
        assert picture.size[0] > 1500
    assert portbev("viz", run, "--samples", 2, "--out", tmp_path / "again").returncode == 0
    assert (tmp_path / "again" / Path(paths[0]).name).read_bytes() == Path(paths[0]).read_bytes()


def test_predictions_below_the_score_are_left_out(run):
    views = open_views(run)
    view = views.view(views.tokens[0])
    assert (draw_radial(view, score=0.95) != draw_radial(view, score=0.1)).any()


def test_without_a_calibration_table_boxes_are_drawn_and_the_picture_says_so(run, recordings, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(recordings, copy)
    next(copy.rglob("CalibrationTable.npy")).unlink()
    views = open_views(run, data_root=copy)
    view = views.view(views.tokens[0])
    assert view.radar is None and len(view.truth)
    assert "no range-azimuth map: " in views.title
    with_map = open_views(run).draw(views.tokens[0], 0.3)[1]
    assert (views.draw(views.tokens[0], 0.3)[1] != with_map).any()


def test_frames_that_the_data_lack_are_named(run):
    content = json.loads((run / "predictions.json").read_text())
    content["frames"]["987654"] = []
    (run / "predictions.json").write_text(json.dumps(content))
    with pytest.raises(PortbevError, match="frame 987654 of the predictions is not in the data"):
        open_views(run)
    result = portbev("viz", run)
    assert result.returncode == 2 and len(result.stderr.strip().splitlines()) == 1
