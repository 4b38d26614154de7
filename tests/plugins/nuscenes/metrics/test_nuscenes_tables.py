"""Ground truth from tables: velocities, attributes, and every missing or damaged piece told by name."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nuscenes_cases import random_case, write_tables

from portbev.errors import DataError
from portbev_nuscenes.metrics import load_ground_truth
from portbev_nuscenes.tables.jsonrows import read_rows
from portbev_nuscenes.tables.splits import OFFICIAL_SPLITS, scene_names

VERSION = "v1.0-mini"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    _, truth = random_case(0, samples=6, truths=20)
    write_tables(tmp_path, truth, {"scene-a": [0, 1, 2, 3], "scene-b": [4, 5]})
    return tmp_path


def edit(root: Path, table: str, change) -> None:
    path = root / VERSION / f"{table}.json"
    rows = json.loads(path.read_text())
    change(rows)
    path.write_text(json.dumps(rows))


def test_arrays_are_those_of_the_tables(tmp_path):
    _, truth = random_case(0, samples=6, truths=20)
    write_tables(tmp_path, truth)
    read = load_ground_truth(tmp_path, VERSION, "custom")
    for name in ("sample_index", "label", "translation", "size", "rotation", "attribute", "num_pts", "ego_translation"):
        np.testing.assert_array_equal(getattr(read, name), getattr(truth, name), err_msg=name)
    for name in ("sample_index", "translation", "size", "rotation"):
        np.testing.assert_array_equal(getattr(read.racks, name), getattr(truth.racks, name), err_msg=name)


def chain(rows, samples, gap=0):
    """Make the first annotations one object that moves 2 m between samples."""
    for number, row in enumerate(rows[: len(samples)]):
        row["sample_token"] = samples[number]
        row["translation"] = [2.0 * number + (gap if number else 0), 0.0, 0.0]
        row["prev"] = rows[number - 1]["token"] if number else ""
        row["next"] = rows[number + 1]["token"] if number + 1 < len(samples) else ""


def velocities(root: Path, split: str, tokens) -> np.ndarray:
    """Velocities of the annotations ``tokens``, of the first twenty: the rest are racks."""
    scene_of = {row["token"]: row["scene_token"] for row in json.loads((root / VERSION / "sample.json").read_text())}
    rows = json.loads((root / VERSION / "sample_annotation.json").read_text())[:20]
    names = scene_names(split, root, VERSION)
    kept = [row["token"] for row in rows if scene_of[row["sample_token"]] in names]
    return load_ground_truth(root, VERSION, split).velocity[[kept.index(token) for token in tokens]]


def test_velocity_is_central_and_one_sided_at_the_ends(root):
    samples = [row["token"] for row in json.loads((root / VERSION / "sample.json").read_text())]
    edit(root, "sample_annotation", lambda rows: chain(rows, samples[:3]))
    velocity = velocities(root, "custom", ["n0", "n1", "n2", "n3"])
    np.testing.assert_allclose(velocity[:3], [[4, 0]] * 3, rtol=1e-12)
    assert np.isnan(velocity[3]).all()


def test_velocity_is_unknown_beyond_a_second_and_a_half(root):
    samples = [row["token"] for row in json.loads((root / VERSION / "sample.json").read_text())]
    edit(root, "sample_annotation", lambda rows: chain(rows, samples[:3]))
    edit(root, "sample", lambda rows: rows[2].update(timestamp=2_100_000))
    velocity = velocities(root, "custom", ["n0", "n1", "n2"])
    assert np.isfinite(velocity[0]).all()
    assert np.isfinite(velocity[1]).all()  # 2.1 s around a middle one
    assert np.isnan(velocity[2]).all()  # 1.6 s at the end


def test_neighbour_outside_the_split_still_gives_the_velocity(root):
    samples = [row["token"] for row in json.loads((root / VERSION / "sample.json").read_text())]
    edit(root, "sample_annotation", lambda rows: chain(rows, samples[3:5]))
    (root / VERSION / "splits.json").write_text('{"b": ["scene-b"]}')
    np.testing.assert_allclose(velocities(root, "b", ["n1"]), [[4, 0]], rtol=1e-12)
    edit(root, "sample_annotation", lambda rows: rows[1].update(prev="gone"))
    with pytest.raises(DataError, match="no annotation gone"):
        load_ground_truth(root, VERSION, "b")


FAULTS = {
    "two attributes": (
        "sample_annotation",
        lambda r: r[4].update(attribute_tokens=["a1", "a2"]),
        "n4 has 2 attributes",
    ),
    "unknown attribute": ("sample_annotation", lambda r: r[4].update(attribute_tokens=["zz"]), "n4 .*attribute 'zz'"),
    "missing field": ("sample_annotation", lambda r: r[4].pop("size"), "missing required field `size` - at `row 4`"),
    "wrong type": ("sample_annotation", lambda r: r[4].update(size="big"), "at `row 4.size`"),
    "NaN": ("sample_annotation", lambda r: r[4].update(translation=[float("nan"), 0, 0]), "n4 has a number"),
    "zero size": ("sample_annotation", lambda r: r[4].update(size=[0, 1, 1]), "n4 has a size"),
    "no annotations": ("sample_annotation", lambda r: r.clear(), "no annotations"),
    "unknown category": ("instance", lambda r: r[4].update(category_token="zz"), "i4 has the unknown category"),
    "no key frame": ("sample_data", lambda r: r[2].update(is_key_frame=False), "1 samples have no LIDAR_TOP"),
    "no pose": ("ego_pose", lambda r: r.pop(2), "no ego pose ego2"),
    "no samples": ("sample", lambda r: r.clear(), "split 'custom' has no samples"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault_in_a_table_is_told_in_one_line(root, fault):
    table, change, message = FAULTS[fault]
    edit(root, table, change)
    with pytest.raises(DataError, match=message) as caught:
        load_ground_truth(root, VERSION, "custom")
    assert f"{table}.json" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("table", ["sample_annotation", "sample", "ego_pose", "sensor", "category", "scene"])
def test_missing_and_truncated_tables_are_named(root, table):
    path = root / VERSION / f"{table}.json"
    text = path.read_text()
    path.write_text(text[: len(text) // 2])
    with pytest.raises(DataError, match=f"{table}.json: damaged or truncated"):
        load_ground_truth(root, VERSION, "custom")
    path.write_text('{"token": 1}')
    with pytest.raises(DataError, match=f"{table}.json: not a JSON array"):
        load_ground_truth(root, VERSION, "custom")
    path.unlink()
    with pytest.raises(DataError, match=f"{table}.json: cannot read"):
        load_ground_truth(root, VERSION, "custom")


def test_missing_version_and_split_are_named(root):
    with pytest.raises(DataError, match="no table folder 'v9'"):
        load_ground_truth(root, "v9", "custom")
    with pytest.raises(DataError, match=r"unknown split 'nope'.*custom"):
        load_ground_truth(root, VERSION, "nope")
    with pytest.raises(DataError, match="'val' belongs to a version that ends with 'trainval'"):
        load_ground_truth(root, VERSION, "val")
    (root / VERSION / "splits.json").write_text('{"custom": "scene-a"}')
    with pytest.raises(DataError, match=r"splits.json: not of the form"):
        load_ground_truth(root, VERSION, "custom")


def test_official_splits_have_their_sizes_and_share_no_scene():
    sizes = {split: len(names) for split, names in OFFICIAL_SPLITS.items()}
    assert sizes == {
        "train": 700,
        "val": 150,
        "test": 150,
        "train_detect": 350,
        "train_track": 350,
        "mini_train": 8,
        "mini_val": 2,
    }
    assert len({*OFFICIAL_SPLITS["train"], *OFFICIAL_SPLITS["val"], *OFFICIAL_SPLITS["test"]}) == 1000
    assert {*OFFICIAL_SPLITS["train_detect"], *OFFICIAL_SPLITS["train_track"]} == set(OFFICIAL_SPLITS["train"])


class Row(msgspec.Struct):
    token: str
    values: list[float] = []


texts = st.text(st.sampled_from('ab{}[],:"\\ é\n'), max_size=12)
rows = st.lists(
    st.fixed_dictionaries({"token": texts, "values": st.lists(st.integers(-9, 9), max_size=3)}), max_size=30
)


@settings(max_examples=150, deadline=None)
@given(rows, st.integers(1, 60), st.sampled_from([None, 1]), st.booleans())
def test_rows_are_the_same_however_the_file_is_cut(tmp_path_factory, content, block, indent, nested):
    path = tmp_path_factory.mktemp("rows") / "table.json"
    stored = [{**row, "more": [{"token": "x"}, {"token": "}, {"}]} for row in content] if nested else content
    path.write_text(json.dumps(stored, indent=indent))
    read = [row for some in read_rows(path, Row, block=block) for row in some]
    assert [(row.token, row.values) for row in read] == [(row["token"], row["values"]) for row in content]


def test_fault_behind_the_first_block_has_its_row_in_the_file(tmp_path):
    path = tmp_path / "table.json"
    path.write_text(json.dumps([{"token": str(n)} for n in range(50)] + [{"nothing": 1}]))
    with pytest.raises(DataError, match="row 50"):
        list(read_rows(path, Row, block=64))
    path.write_text('[{"token": "a", "values": [NaN]}, {"token": "\\ud800"}]')
    assert np.isnan(next(read_rows(path, Row))[0].values[0])
