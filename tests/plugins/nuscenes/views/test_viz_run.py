"""Samples of a run, and the command as users run it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from portbev.boxes import box_corners
from portbev.errors import PortbevError
from portbev.geometry import transform
from portbev.viz import open_views


def portbev(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "portbev", *map(str, arguments)], capture_output=True, text=True, check=False
    )


def assert_one_line(result, *parts):
    assert result.returncode == 2, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def test_equal_boxes_of_predictions_and_annotations_coincide(run):
    views = open_views(run)
    view = views.view(views.tokens[0])
    assert len(view.truth) and len(view.predictions) == len(view.truth)
    order = np.argsort(view.truth.boxes[:, 0]), np.argsort(view.predictions.boxes[:, 0])
    np.testing.assert_allclose(view.predictions.boxes[order[1], :7], view.truth.boxes[order[0], :7], atol=1e-9)
    assert (view.predictions.labels[order[1]] == view.truth.labels[order[0]]).all()


def test_lidar_points_lie_in_the_annotated_boxes(run):
    """Poses, calibration and box axes agree: every annotation that says it has points has some inside."""
    views = open_views(run)
    view = views.view(views.tokens[0])
    boxes = view.truth.boxes
    corners = transform(view.global2ego, box_corners(boxes))
    for eight in corners:
        axes = np.stack([eight[0] - eight[3], eight[1] - eight[0], eight[4] - eight[0]])
        lengths = np.linalg.norm(axes, axis=1)
        local = (view.points - eight.mean(0)) @ (axes / lengths[:, None]).T
        assert (np.abs(local) <= lengths / 2 + 0.05).all(1).any()


def test_spread_takes_samples_from_everywhere(run):
    views = open_views(run)
    assert views.spread(100) == views.tokens
    assert len(set(views.spread(2))) == 2


def test_data_without_the_predicted_samples_is_refused(run):
    content = json.loads((run / "predictions.json").read_text())
    content["results"]["nowhere"] = []
    (run / "predictions.json").write_text(json.dumps(content))
    with pytest.raises(PortbevError, match="sample nowhere of the predictions is not in the data"):
        open_views(run)


def test_command_writes_one_picture_per_sample_and_says_where(run, tmp_path):
    result = portbev("viz", run, "--samples", 2)
    assert result.returncode == 0, result.stderr
    paths = result.stdout.split()
    assert len(paths) == 2 and {Path(path).parent for path in paths} == {run / "pictures"}
    with Image.open(paths[0]) as picture:
        assert picture.size[0] > 1500
    first = Path(paths[0]).read_bytes()
    assert portbev("viz", run, "--samples", 2, "--out", tmp_path / "again").returncode == 0
    assert (tmp_path / "again" / Path(paths[0]).name).read_bytes() == first


def test_named_samples_only(run, tmp_path):
    tokens = open_views(run).tokens
    result = portbev("viz", run, "--tokens", f"{tokens[0]},{tokens[2]}", "--out", tmp_path / "p")
    assert [path.name.split("_")[-1] for path in sorted((tmp_path / "p").iterdir())] == sorted(
        f"{token}.png" for token in (tokens[0], tokens[2])
    ), result.stderr


def test_emulated_device_is_said_in_the_title(run):
    assert "(emulated)" in open_views(run).title


def test_faults_are_one_line_each(run, tmp_path, synthetic):
    assert_one_line(portbev("viz", tmp_path / "none"), "no such run directory")
    assert_one_line(portbev("viz", run, "--tokens", "abc"), "--tokens", "abc")
    assert_one_line(portbev("viz", run, "--data-root", tmp_path / "none"), "no such data root")
    assert_one_line(portbev("viz", run, "--version", "v9"), "v9")
    (run / "predictions.json").unlink()
    assert_one_line(portbev("viz", run), "no predictions.json", "portbev eval")


def test_truncated_picture_is_named(run, synthetic):
    views = open_views(run)
    token = views.tokens[0]
    place = views._place[token]
    index = views.index
    file = index.frame_file[index.key_frames[place, index.channel("CAM_BACK")]].decode()
    content = (synthetic / file).read_bytes()
    try:
        (synthetic / file).write_bytes(content[: len(content) // 3])
        assert_one_line(portbev("viz", run, "--tokens", token), file, "damaged")
    finally:
        (synthetic / file).write_bytes(content)


def test_a_run_on_data_of_an_unknown_benchmark_is_refused_in_one_line(run):
    record = json.loads((run / "run.json").read_text())
    record["data"]["benchmark"] = "another"
    (run / "run.json").write_text(json.dumps(record))
    assert_one_line(portbev("viz", run), "unknown benchmark 'another'", "Known: nuscenes, radial")
