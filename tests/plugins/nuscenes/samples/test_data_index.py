"""The index of a version: what it holds, how it is cached, what it refuses."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portbev.errors import DataError
from portbev_nuscenes.tables import cache
from portbev_nuscenes.tables.build import build_index
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.tables.index import Index

VERSION = "v1.0-mini"
Edit = Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]


def table(root: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((root / VERSION / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def index(root: Path) -> Index:
    return build_index(root / VERSION)


def test_samples_are_those_of_the_tables_in_order_of_scene_and_time(root: Path, index: Index) -> None:
    scenes = {row["token"]: place for place, row in enumerate(table(root, "scene"))}
    rows = sorted(table(root, "sample"), key=lambda row: (scenes[row["scene_token"]], row["timestamp"]))
    assert [token.decode() for token in index.sample_token] == [row["token"] for row in rows]
    by_token = {row["token"]: place for place, row in enumerate(rows)}
    for place, row in enumerate(rows):
        assert index.previous(place, 1) == (by_token[row["prev"]] if row["prev"] else None)


def test_key_frames_have_their_file_pose_and_calibration(root: Path, index: Index) -> None:
    poses = {row["token"]: row for row in table(root, "ego_pose")}
    calibrated = {row["token"]: row for row in table(root, "calibrated_sensor")}
    sensors = {row["token"]: row["channel"] for row in table(root, "sensor")}
    places = {token.decode(): place for place, token in enumerate(index.sample_token)}
    seen = 0
    for row in table(root, "sample_data"):
        channel = sensors[calibrated[row["calibrated_sensor_token"]]["sensor_token"]]
        if not row["is_key_frame"] or channel.encode() not in index.channels:
            continue
        frame = index.key_frames[places[row["sample_token"]], index.channel(channel)]
        place = index.frame_calibration[frame]
        assert index.frame_file[frame].decode() == row["filename"]
        np.testing.assert_array_equal(index.frame_rotation[frame], poses[row["ego_pose_token"]]["rotation"])
        np.testing.assert_array_equal(index.frame_translation[frame], poses[row["ego_pose_token"]]["translation"])
        given = calibrated[row["calibrated_sensor_token"]]
        np.testing.assert_array_equal(index.calibration_translation[place], given["translation"])
        np.testing.assert_array_equal(index.calibration_intrinsic[place], given["camera_intrinsic"] or np.zeros((3, 3)))
        seen += 1
    assert seen == (index.key_frames >= 0).sum() == 9 * 7


def test_boxes_are_the_annotations_of_their_sample(root: Path, index: Index) -> None:
    rows = table(root, "sample_annotation")
    instances = {row["token"]: row["category_token"] for row in table(root, "instance")}
    categories = {row["token"]: row["name"] for row in table(root, "category")}
    for place, token in enumerate(index.sample_token):
        mine = [row for row in rows if row["sample_token"] == token.decode()]
        boxes = slice(*index.box_start[place : place + 2])
        np.testing.assert_array_equal(index.box_translation[boxes], [row["translation"] for row in mine])
        names = [categories[instances[row["instance_token"]]] for row in mine]
        assert [index.categories[c].decode() for c in index.box_category[boxes]] == names
        np.testing.assert_array_equal(
            index.box_points[boxes], [[row["num_lidar_pts"], row["num_radar_pts"]] for row in mine]
        )


def test_velocities_are_differences_over_time(root: Path, index: Index) -> None:
    rows = {row["token"]: row for row in table(root, "sample_annotation")}
    times = {row["token"]: row["timestamp"] for row in table(root, "sample")}
    place = {token.decode(): i for i, token in enumerate(index.sample_token)}
    for row in rows.values():
        mine = np.arange(*index.box_start[place[row["sample_token"]] :][:2])
        found = mine[(index.box_translation[mine] == row["translation"]).all(1)][0]
        first, last = rows.get(row["prev"], row), rows.get(row["next"], row)
        if first is last:
            assert np.isnan(index.box_velocity[found]).all()
            continue
        seconds = (times[last["sample_token"]] - times[first["sample_token"]]) * 1e-6
        expected = (np.array(last["translation"]) - first["translation"]) / seconds
        np.testing.assert_allclose(index.box_velocity[found], expected, rtol=1e-9, atol=1e-9)


def test_annotations_that_are_far_apart_in_time_give_no_velocity(copy: Path, edit: Edit) -> None:
    def stretch(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["timestamp"] *= 10  # 5 s between key frames

    edit(copy, "sample", stretch)
    assert np.isnan(build_index(copy / VERSION).box_velocity).all()


def test_sweeps_are_the_frames_before_the_key_frame_newest_first(root: Path) -> None:
    index = build_index(root / VERSION, sweeps=True)
    found = index.sweeps(2, "LIDAR_TOP", 10)
    times = index.frame_time[found]
    key = index.key_frames[2, index.channel("LIDAR_TOP")]
    assert len(found) == 4  # two key frames and the frames between
    assert (np.diff(times) < 0).all() and times[0] < index.frame_time[key]
    assert index.sweeps(0, "LIDAR_TOP", 10) == []
    assert index.sweeps(3, "LIDAR_TOP", 10) == []  # a new scene
    assert len(index.sweeps(2, "CAM_FRONT", 1)) == 1


def test_the_cache_gives_the_same_index_and_leaves_the_root_alone(root: Path, own_cache: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    built = load_index(root, VERSION)
    (stored,) = own_cache.rglob("*.npz")
    again = load_index(root, VERSION)
    for name, array in built.arrays().items():
        np.testing.assert_array_equal(getattr(again, name), array)
    assert list(own_cache.rglob("*.npz")) == [stored]
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_the_cache_is_used(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_index(root, VERSION)
    monkeypatch.setattr(cache, "build_index", lambda *_, **__: pytest.fail("read the tables again"))
    load_index(root, VERSION)


@pytest.mark.parametrize("change", ["content", "time"])
def test_a_changed_table_is_read_again(copy: Path, edit: Edit, change: str) -> None:
    load_index(copy, VERSION)
    if change == "content":
        edit(copy, "scene", lambda rows: rows[0].update(name="scene-other"))
    else:
        os.utime(copy / VERSION / "scene.json", ns=(1, 1))
    notes: list[str] = []
    index = load_index(copy, VERSION, notes=notes)
    assert (index.scenes[0] == b"scene-other") == (change == "content")
    assert notes == []


@pytest.mark.parametrize("damage", ["cut", "flip", "empty"])
def test_a_damaged_cache_is_rebuilt_and_said(
    root: Path, own_cache: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    built = load_index(root, VERSION)
    (stored,) = own_cache.rglob("*.npz")
    content = bytearray(stored.read_bytes())
    if damage == "flip":
        content[content.index(built.box_translation.tobytes()) + 5] ^= 1
    stored.write_bytes({"cut": content[:2000], "flip": content, "empty": b""}[damage])
    notes: list[str] = []
    with caplog.at_level(logging.WARNING):
        again = load_index(root, VERSION, notes=notes)
    np.testing.assert_array_equal(again.box_translation, built.box_translation)
    assert len(notes) == 1 and "damaged" in notes[0] and notes[0] in caplog.text
    assert load_index(root, VERSION, notes=notes) and len(notes) == 1


def test_a_cache_that_cannot_be_written_is_said(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PORTBEV_CACHE", str(tmp_path / "file"))
    notes: list[str] = []
    assert len(load_index(root, VERSION, notes=notes).scenes) == 3
    assert len(notes) == 1 and "not cached" in notes[0]


@pytest.mark.parametrize("how", ["no tables", "no rows", "no table of annotations"])
def test_no_version_needs_annotations(copy: Path, how: str) -> None:
    folder = (copy / VERSION).rename(copy / "drive7")
    for name in ("sample_annotation", "instance", "category", "attribute"):
        if how == "no tables" or (name == "sample_annotation" and how != "no rows"):
            (folder / f"{name}.json").unlink()
        elif how == "no rows":
            (folder / f"{name}.json").write_text("[]")
    index = build_index(folder)
    assert index.box_start.tolist() == [0] * 10 and len(index.box_translation) == 0


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("sample_annotation", lambda rows: rows[3].pop("translation"), r"translation.*row 3.*token {token3}"),
        ("sample_annotation", lambda rows: rows[3].update(size=[1, 2, 0]), "token {token3} has a size"),
        ("sample_annotation", lambda rows: rows[3].update(rotation=[0, 0, 0, 0]), "token {token3} is not a rotation"),
        ("sample_annotation", lambda rows: rows[3].update(instance_token="gone"), "gone.*sample_annotation {token3}"),
        ("sample_annotation", lambda rows: rows[3].update(prev="gone"), "gone.*sample_annotation {token3}"),
        (
            "sample_annotation",
            lambda rows: rows[3].update(attribute_tokens=["a", "b"]),
            "{token3} has 2 attributes",
        ),
        ("ego_pose", lambda rows: [row.update(translation=[0, 0, float("nan")]) for row in rows], "not finite"),
        ("ego_pose", lambda rows: rows.clear(), "no row with token .* sample_data .* points at"),
        ("sample", lambda rows: rows[3].update(scene_token="gone"), "gone.*sample {token3}"),
        ("calibrated_sensor", lambda rows: [row.update(camera_intrinsic=[[1]]) for row in rows], "not 3 x 3"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    copy: Path, edit: Edit, name: str, change: Callable[[list[dict[str, Any]]], Any], message: str
) -> None:
    token = table(copy, name)[3]["token"]
    edit(copy, name, change)
    with pytest.raises(DataError, match=message.replace("{token3}", token)) as caught:
        build_index(copy / VERSION)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["sample", "sample_data", "ego_pose", "instance", "category", "sensor"])
def test_a_missing_table_is_named(copy: Path, name: str) -> None:
    (copy / VERSION / f"{name}.json").unlink()
    with pytest.raises(DataError, match=f"{name}.json"):
        load_index(copy, VERSION)


def test_a_truncated_table_is_named(copy: Path) -> None:
    path = copy / VERSION / "sample_data.json"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"sample_data\.json: damaged or truncated JSON"):
        load_index(copy, VERSION)


def test_a_missing_root_or_version_is_told_with_what_there_is(root: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data root"):
        load_index(tmp_path / "nowhere", VERSION)
    with pytest.raises(DataError, match=r"no version 'v1\.0-trainval'.*v1\.0-mini"):
        load_index(root, "v1.0-trainval")
