"""The tables: complete in the official schema, and consistent with each other and with the files."""

from __future__ import annotations

import collections
import itertools
from typing import Any

import cv2
import numpy as np
from synth_dataset import CLASSES, Dataset, from_global, rotation, to_global

from portbev_nuscenes.synth import TRAIN_SPLIT, VAL_SPLIT

#: Every field of the official schema (version 1.0).
SCHEMA = {
    "attribute": "token name description",
    "calibrated_sensor": "token sensor_token translation rotation camera_intrinsic",
    "category": "token name description",
    "ego_pose": "token timestamp rotation translation",
    "instance": "token category_token nbr_annotations first_annotation_token last_annotation_token",
    "log": "token logfile vehicle date_captured location",
    "map": "category token filename log_tokens",
    "sample": "token timestamp prev next scene_token",
    "sample_annotation": "token sample_token instance_token visibility_token attribute_tokens translation size "
    "rotation prev next num_lidar_pts num_radar_pts",
    "sample_data": "token sample_token ego_pose_token calibrated_sensor_token timestamp fileformat is_key_frame "
    "height width filename prev next",
    "scene": "token log_token nbr_samples first_sample_token last_sample_token name description",
    "sensor": "token channel modality",
    "visibility": "token level description",
}


def test_every_table_has_exactly_the_official_fields(tiny: Dataset) -> None:
    assert set(tiny.tables) == {*SCHEMA, "splits"}
    for name, fields in SCHEMA.items():
        assert tiny.tables[name], name
        for row in tiny.tables[name]:
            assert set(row) == set(fields.split()), name
    assert [len(tiny.tables[name]) for name in ("category", "attribute", "visibility", "sensor")] == [23, 8, 4, 7]


def test_tokens_are_unique_and_every_reference_leads_somewhere(tiny: Dataset) -> None:
    tokens = {name: [row["token"] for row in tiny.tables[name]] for name in SCHEMA}
    for name, own in tokens.items():
        assert len(set(own)) == len(own), name
    for name in SCHEMA:
        for row in tiny.tables[name]:
            for field, value in row.items():
                if not field.endswith(("_token", "_tokens")):
                    continue
                table = field.removesuffix("s").removesuffix("_token")
                if table.endswith("_annotation"):
                    table = "sample_annotation"
                elif table.endswith("_sample"):
                    table = "sample"
                for token in value if isinstance(value, list) else [value]:
                    assert token in tokens[table], (name, field)
    assert {log for row in tiny.tables["map"] for log in row["log_tokens"]} == set(tokens["log"])


def test_chains_run_through_every_scene_sensor_and_instance(tiny: Dataset) -> None:
    def chain(rows: list[dict[str, Any]]) -> None:
        assert [row["prev"] for row in rows] == ["", *[row["token"] for row in rows[:-1]]]
        assert [row["next"] for row in rows] == [*[row["token"] for row in rows[1:]], ""]

    samples = collections.defaultdict(list)
    for row in tiny.tables["sample"]:
        samples[row["scene_token"]].append(row)
    for scene in tiny.tables["scene"]:
        rows = samples[scene["token"]]
        chain(rows)
        assert (rows[0]["token"], rows[-1]["token"]) == (scene["first_sample_token"], scene["last_sample_token"])
        assert len(rows) == scene["nbr_samples"] == tiny.options.samples_per_scene
        assert {b["timestamp"] - a["timestamp"] for a, b in itertools.pairwise(rows)} == {500_000}

    streams = collections.defaultdict(list)
    for row in tiny.tables["sample_data"]:
        streams[row["calibrated_sensor_token"]].append(row)
    assert len(streams) == 7 * tiny.options.scenes
    for rows in streams.values():
        chain(rows)
        stamps = [row["timestamp"] for row in rows]
        assert stamps == sorted(set(stamps))
        assert len(rows) == 1 + (tiny.options.samples_per_scene - 1) * (1 + tiny.options.sweeps)
        assert sum(row["is_key_frame"] for row in rows) == tiny.options.samples_per_scene

    tracks = collections.defaultdict(list)
    for row in tiny.tables["sample_annotation"]:
        tracks[row["instance_token"]].append(row)
    for instance in tiny.tables["instance"]:
        rows = tracks[instance["token"]]
        chain(rows)
        assert instance["nbr_annotations"] == len(rows)
        assert (instance["first_annotation_token"], instance["last_annotation_token"]) == (
            rows[0]["token"],
            rows[-1]["token"],
        )


def test_key_frames_share_their_sample_and_sweeps_come_before_it(tiny: Dataset) -> None:
    stamps = {row["token"]: row["timestamp"] for row in tiny.tables["sample"]}
    for row in tiny.tables["sample_data"]:
        late = row["timestamp"] - stamps[row["sample_token"]]
        assert abs(late) < 10_000 if row["is_key_frame"] else -500_000 < late < -10_000
        assert row["filename"].startswith("samples/" if row["is_key_frame"] else "sweeps/")
        if row["fileformat"] == "pcd" and row["is_key_frame"]:
            assert late == 0


def test_every_file_is_there_and_as_the_tables_say(tiny: Dataset) -> None:
    listed = {row["filename"] for row in tiny.tables["sample_data"]} | {row["filename"] for row in tiny.tables["map"]}
    folders = ("samples", "sweeps", "maps")
    assert listed == {
        str(path.relative_to(tiny.root)) for name in folders for path in (tiny.root / name).rglob("*") if path.is_file()
    }
    for row in tiny.tables["sample_data"]:
        path = str(tiny.root / row["filename"])
        if row["fileformat"] == "jpg":
            assert cv2.imread(path).shape == (row["height"], row["width"], 3) == (180, 320, 3)
        else:
            points = np.fromfile(path, np.float32).reshape(-1, 5)
            assert len(points) > 500
            assert set(np.unique(points[:, 4])) <= set(range(tiny.options.lidar_beams))
            assert points[:, 3].min() >= 0 and points[:, 3].max() <= 255


def test_splits_are_disjoint_and_cover_all_scenes(tiny: Dataset) -> None:
    splits: Any = tiny.tables["splits"]
    train, val = splits[TRAIN_SPLIT], splits[VAL_SPLIT]
    assert train and val and not set(train) & set(val)
    assert sorted(train + val) == [row["name"] for row in tiny.tables["scene"]]


def test_lidar_point_counts_are_those_of_the_files(tiny: Dataset) -> None:
    checked = 0
    for sample in tiny.tables["sample"]:
        data = tiny.key_data(sample["token"], "LIDAR_TOP")
        points = np.fromfile(tiny.root / data["filename"], np.float32).reshape(-1, 5)[:, :3].astype(np.float64)
        frames = (
            tiny.get("calibrated_sensor", data["calibrated_sensor_token"]),
            tiny.get("ego_pose", data["ego_pose_token"]),
        )
        world = to_global(points, *frames)
        for box in tiny.tables["sample_annotation"]:
            if box["sample_token"] == sample["token"]:
                width, length, height = box["size"]
                inside = np.abs(from_global(world, box)) <= np.array([length, width, height]) / 2
                assert box["num_lidar_pts"] == inside.all(axis=1).sum()
                checked += box["num_lidar_pts"] > 0
    assert checked > 20


def test_lidar_sees_the_ground_where_it_is(tiny: Dataset) -> None:
    for sample in tiny.tables["sample"]:
        data = tiny.key_data(sample["token"], "LIDAR_TOP")
        points = np.fromfile(tiny.root / data["filename"], np.float32).reshape(-1, 5)
        height = (
            points[:, 2].astype(np.float64)
            + tiny.get("calibrated_sensor", data["calibrated_sensor_token"])["translation"][2]
        )
        assert np.mean(np.abs(height) < 0.06) > 0.2
        assert height.min() > -0.1


def test_all_ten_classes_are_annotated_with_lidar_points(tiny: Dataset) -> None:
    category = {row["token"]: row["name"] for row in tiny.tables["category"]}
    instance = {row["token"]: category[row["category_token"]] for row in tiny.tables["instance"]}
    found = {instance[row["instance_token"]] for row in tiny.tables["sample_annotation"] if row["num_lidar_pts"]}
    assert found >= CLASSES


def test_things_that_move_head_where_they_go_and_say_so(tiny: Dataset) -> None:
    by_token = {row["token"]: row for row in tiny.tables["sample_annotation"]}
    attribute = {row["token"]: row["name"] for row in tiny.tables["attribute"]}
    kinds = collections.Counter()
    for row in by_token.values():
        if not row["next"]:
            continue
        step = np.subtract(by_token[row["next"]]["translation"], row["translation"])
        speed = float(np.hypot(step[0], step[1])) / 0.5
        names = [attribute[token] for token in row["attribute_tokens"]]
        assert len(names) <= 1 and speed < 15
        name = names[0] if names else "none"
        kinds[name] += 1
        if name in ("vehicle.parked", "vehicle.stopped", "pedestrian.standing", "cycle.without_rider", "none"):
            assert speed < 0.35
        if name == "vehicle.moving":
            assert speed > 0.25
        if name in ("vehicle.moving", "cycle.with_rider") and speed > 0:  # a rider may wait in a queue
            heading = rotation(row["rotation"])[:2, 0]
            assert heading @ step[:2] > 0.98 * np.hypot(step[0], step[1])
    assert kinds["vehicle.moving"] and kinds["vehicle.parked"] and kinds["pedestrian.moving"] and kinds["none"]


def test_map_is_white_where_the_ego_drives(tiny: Dataset) -> None:
    log_of = {row["token"]: row["log_token"] for row in tiny.tables["scene"]}
    for sample in tiny.tables["sample"]:
        log = log_of[sample["scene_token"]]
        (chart,) = [row for row in tiny.tables["map"] if log in row["log_tokens"]]
        mask = cv2.imread(str(tiny.root / chart["filename"]), cv2.IMREAD_UNCHANGED)
        assert mask.ndim == 2 and set(np.unique(mask)) == {0, 255}
        pose = tiny.get("ego_pose", tiny.key_data(sample["token"], "LIDAR_TOP")["ego_pose_token"])
        column, row = round(pose["translation"][0] * 10), round(mask.shape[0] - pose["translation"][1] * 10)
        assert mask[row, column] == 255
