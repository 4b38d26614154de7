"""Data that people really have: what runs refuse before the first step, `data check` finds too; and what works."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from portbev.data import build_dataset
from portbev.errors import DataError
from portbev_nuscenes.benchmark import NuscenesBenchmark
from portbev_nuscenes.check import check_root
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_nuscenes.samples.images import read_image
from portbev_nuscenes.samples.layout import likely_values
from portbev_nuscenes.samples.lidar import read_lidar

VERSION = "v1.0-mini"
MakeSection = Callable[..., NuscenesData]
Rows = list[dict[str, Any]]
Edit = Callable[[Path, str, Callable[[Rows], Any]], None]


def refusal(root: Path, section: NuscenesData | NuscenesQueueData, part: Any = "train") -> str:
    """The line that opening and looking over a split ends with."""
    with pytest.raises(DataError) as caught:
        build_dataset(section, root, part, seed=0).check()
    line = str(caught.value)
    assert "\n" not in line
    return line


def found(root: Path, **how: Any) -> list[Problem]:
    return list(check_root(root, VERSION, **how))


def stopping(root: Path, **how: Any) -> str:
    return "\n".join(str(problem) for problem in found(root, **how) if problem.needed)


def files(root: Path, channel: str) -> list[Path]:
    return sorted((root / "samples" / channel).iterdir())


def queue(**changes: Any) -> NuscenesQueueData:
    return NuscenesQueueData(version=VERSION, train_split="synth_train", eval_split="synth_val", **changes)


def test_good_data_pass(root: Path, section: MakeSection) -> None:
    for part in ("train", "eval"):
        build_dataset(section(sweeps=(0, 1)), root, part, seed=0).check()  # type: ignore[arg-type]
        build_dataset(queue(), root, part, seed=0).check()  # type: ignore[arg-type]


def test_queues_need_no_lidar_files(copy: Path) -> None:
    for path in files(copy, "LIDAR_TOP"):
        path.unlink()
    build_dataset(queue(), copy, "train", seed=0).check()


# key frames, attributes, times


@pytest.mark.parametrize("channel", ["LIDAR_TOP", "CAM_BACK"])
def test_a_missing_key_frame_of_the_validation_split_is_found(
    copy: Path, edit: Edit, section: MakeSection, channel: str
) -> None:
    def demote(rows: Rows) -> None:
        [row for row in rows if row["is_key_frame"] and f"/{channel}/" in row["filename"]][-1]["is_key_frame"] = False

    edit(copy, "sample_data", demote)
    line = f"1 samples have no {channel} key frame"
    assert line in refusal(copy, section(), "eval") and line in stopping(copy)


@pytest.mark.parametrize(("channel", "place", "part"), [("CAM_BACK", 0, "train"), ("LIDAR_TOP", -1, "eval")])
def test_a_doubled_key_frame_is_found(
    copy: Path, edit: Edit, section: MakeSection, channel: str, place: int, part: str
) -> None:
    def double(rows: Rows) -> None:
        row = [row for row in rows if row["is_key_frame"] and f"/{channel}/" in row["filename"]][place]
        rows.append({**row, "token": "another", "prev": "", "next": ""})

    edit(copy, "sample_data", double)
    line = f"1 samples have more than one {channel} key frame"
    assert line in refusal(copy, section(), part) and line in stopping(copy)


def test_a_doubled_token_is_found(copy: Path, edit: Edit, section: MakeSection) -> None:
    edit(copy, "sample_annotation", lambda rows: rows.append(rows[0]))
    line = "comes more than once"
    assert line in refusal(copy, section()) and line in stopping(copy)


def test_an_unknown_attribute_is_found(copy: Path, edit: Edit, section: MakeSection) -> None:
    edit(copy, "attribute", lambda rows: [row.update(name="x." + row["name"]) for row in rows])
    for part in ("train", "eval"):
        assert "which the benchmark does not know" in refusal(copy, section(), part)
    assert stopping(copy).count("which the benchmark does not know") >= 2


@pytest.mark.parametrize(
    ("unit", "factor", "cure"),
    [
        ("seconds", 1e-6, "Multiply them by 1000000 "),
        ("milliseconds", 1e-3, "Multiply them by 1000 "),
        ("nanoseconds", 1e3, "Divide them by 1000 "),
    ],
)
@pytest.mark.parametrize("since_1970", [True, False])
def test_times_in_another_unit_are_named(
    copy: Path, edit: Edit, section: MakeSection, unit: str, factor: float, cure: str, since_1970: bool
) -> None:
    rows = json.loads((copy / VERSION / "sample.json").read_text())
    start = 0 if since_1970 else min(row["timestamp"] for row in rows)
    for name in ("sample", "sample_data", "ego_pose"):
        edit(copy, name, lambda rows: [row.update(timestamp=(row["timestamp"] - start) * factor) for row in rows])
    for line in (refusal(copy, section()), refusal(copy, section(), "eval"), stopping(copy, files="none")):
        assert f"They look like {unit}. {cure}" in line and "apart (median)" in line


def test_frames_of_another_clock_than_their_samples_are_told(copy: Path, edit: Edit, section: MakeSection) -> None:
    edit(copy, "sample_data", lambda rows: [row.update(timestamp=row["timestamp"] * 1e-3) for row in rows])
    line = refusal(copy, queue())
    assert "LIDAR_TOP key frames are 1.6e+09 s off the time of their samples" in line
    build_dataset(section(), copy, "train", seed=0).check()  # asks the times of samples alone


@pytest.mark.parametrize("table", ["sample", "sample_data"])
def test_a_time_that_is_no_number_is_told(copy: Path, edit: Edit, section: MakeSection, table: str) -> None:
    edit(copy, table, lambda rows: rows[0].update(timestamp=float("nan")))
    assert f"{table}.json: row with token" in refusal(copy, section()) and "not finite" in stopping(copy)


@pytest.mark.parametrize("step", [1e-2, 0.05, 0.5, 2.0, 60.0])
def test_key_frames_of_other_rates_are_fine(copy: Path, edit: Edit, section: MakeSection, step: float) -> None:
    def spread(rows: Rows) -> None:
        for place, row in enumerate(sorted(rows, key=lambda row: row["timestamp"])):
            row["timestamp"] = 1.6e15 + place * step * 1e6

    edit(copy, "sample", spread)
    dataset = build_dataset(section(), copy, "train", seed=0)
    dataset.check()
    assert dataset.summary().facts["median time between key frames [s]"] == pytest.approx(step)


# annotations


@pytest.mark.parametrize("how", ["absent", "empty"])
def test_a_version_without_annotations_can_be_predicted_on(
    copy: Path, edit: Edit, section: MakeSection, how: str
) -> None:
    for name in ("sample_annotation", "instance"):
        if how == "absent":
            (copy / VERSION / f"{name}.json").unlink()
        else:
            edit(copy, name, lambda rows: rows.clear())
    dataset = build_dataset(section(), copy, "eval", seed=0)
    dataset.check()
    assert not dataset.labelled and dataset.summary().kept == 0 and len(dataset.sample(0, 0)["boxes"]) == 0
    assert "has no annotations to train on" in refusal(copy, section())
    assert stopping(copy) == ""


def test_ground_truth_of_which_nothing_counts_is_said(copy: Path, edit: Edit, section: MakeSection) -> None:
    benchmark = NuscenesBenchmark()
    assert benchmark.check(build_dataset(section(), copy, "eval", seed=0)) == []
    edit(copy, "sample_annotation", lambda rows: [row.update(num_lidar_pts=0, num_radar_pts=0) for row in rows])
    (note,) = benchmark.check(build_dataset(section(), copy, "eval", seed=0))
    assert "no ground truth of synth_val counts" in note and "without enough lidar or radar points" in note
    assert benchmark.check(build_dataset(section(min_points=0), copy, "eval", seed=0)) == []


def test_tables_that_nobody_reads_stop_nobody(copy: Path, section: MakeSection) -> None:
    for name in ("map", "log", "visibility"):
        (copy / VERSION / f"{name}.json").unlink()
    build_dataset(section(), copy, "train", seed=0).check()
    assert [(problem.needed, "not needed for training" in str(problem)) for problem in found(copy)] == [
        (False, True)
    ] * 3


# files


def test_missing_files_are_counted_by_split_and_camera(copy: Path, section: MakeSection) -> None:
    gone = [*files(copy, "CAM_BACK")[-3:], *files(copy, "CAM_FRONT")[:2]]
    for path in gone:
        path.unlink()
    lines = stopping(copy)
    assert "file is missing: 3 of 3 of synth_val CAM_BACK" in lines
    assert "file is missing: 2 of 6 of synth_train CAM_FRONT" in lines and lines.count("\n") == 1
    assert f"{gone[0]}: file is missing: 3 of 3 of synth_val CAM_BACK" in refusal(copy, section(), "eval")
    assert f"{gone[3]}: file is missing: 2 of 6 of synth_train CAM_FRONT" in refusal(copy, section())


def test_missing_history_is_found(copy: Path, section: MakeSection) -> None:
    dataset = build_dataset(section(sweeps=(0, 1)), copy, "train", seed=0).subset([1])
    files(copy, "CAM_BACK")[0].unlink()
    with pytest.raises(DataError, match="1 of 2 of synth_train CAM_BACK"):
        dataset.check()
    build_dataset(section(), copy, "train", seed=0).subset([1]).check()


@pytest.mark.parametrize(
    ("rename", "hint"),
    [
        (lambda path: path.with_suffix(".JPG"), "differs in case"),
        (lambda path: path.with_suffix(".png"), "another suffix"),
        (lambda path: path.parent.rename(path.parent.with_name("CAMERA_BACK")), "no folder samples/CAM_BACK"),
    ],
)
def test_a_missing_file_is_explained(copy: Path, section: MakeSection, rename: Any, hint: str) -> None:
    path = files(copy, "CAM_BACK")[0]
    target = rename(path)
    if path.exists():
        path.rename(target)
    assert hint in refusal(copy, section())


def test_cameras_of_different_sizes_are_told_once(copy: Path, section: MakeSection) -> None:
    for path in files(copy, "CAM_BACK"):
        Image.open(path).resize((100, 56)).save(path)
    for line in (refusal(copy, section()), refusal(copy, queue()), stopping(copy)):
        assert "CAM_BACK 100 x 56" in line and "CAM_FRONT 200 x 112" in line and "data.cameras" in line
    without = tuple(name for name in NuscenesData().cameras if name != "CAM_BACK")
    build_dataset(section(cameras=without), copy, "train", seed=0).check()


def test_a_picture_of_another_size_is_found_by_the_tables(copy: Path, edit: Edit, section: MakeSection) -> None:
    path = files(copy, "CAM_BACK")[4]
    Image.open(path).resize((100, 56)).save(path)
    assert f"{path}: 1 pictures of CAM_BACK are 100 x 56, the others 200 x 112" in stopping(copy)

    def tell(rows: Rows) -> None:
        next(row for row in rows if row["filename"].endswith(path.name)).update(width=100, height=56)

    edit(copy, "sample_data", tell)
    assert f"{path}: 1 pictures are not 200 x 112 by the tables" in refusal(copy, section())


def test_pictures_of_a_size_that_is_not_configured_are_told(root: Path, section: MakeSection) -> None:
    line = refusal(root, section(image={"source_size": (900, 1600), "resize": (0.11, 0.14)}))
    assert "pictures are 200 x 112, expected 1600 x 900" in line and "data.image.source_size=[112,200]" in line


def test_grey_pictures_of_16_bits_are_those_of_8(tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (30, 40)).astype(np.uint8)
    Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "deep.png")
    pixels = np.asarray(read_image(tmp_path / "deep.png", (30, 40)))
    np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, 2))


def test_pictures_of_16_bits_are_noted(copy: Path, edit: Edit, section: MakeSection) -> None:
    for path in (copy / "samples").rglob("*.jpg"):
        grey = np.asarray(Image.open(path).convert("L")).astype(np.uint16) * 257
        Image.fromarray(grey).save(path.with_suffix(".png"))
        path.unlink()
    edit(
        copy, "sample_data", lambda rows: [row.update(filename=row["filename"].replace(".jpg", ".png")) for row in rows]
    )
    dataset = build_dataset(section(), copy, "train", seed=0)
    dataset.check()
    assert dataset.notes == ["pictures have 16 bits a pixel, of which the upper eight are used"]


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1"])
def test_pictures_of_other_modes_are_read(tmp_path: Path, mode: str) -> None:
    source = Image.fromarray(np.full((30, 40, 3), 255, np.uint8))
    path = tmp_path / ("cmyk.jpg" if mode == "CMYK" else "other.png")
    source.convert(mode).save(path)
    assert np.asarray(read_image(path, (30, 40))).min() >= 254


def test_a_picture_without_a_range_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((30, 40), np.float32)).save(tmp_path / "floating.tiff")
    with pytest.raises(DataError, match="no known range"):
        read_image(tmp_path / "floating.tiff", (30, 40))


def test_the_orientation_in_exif_is_ignored(tmp_path: Path) -> None:
    picture, turned = Image.fromarray(np.arange(1200, dtype=np.uint8).reshape(30, 40)).convert("RGB"), Image.Exif()
    turned[0x0112] = 6
    picture.save(tmp_path / "turned.png", exif=turned)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "turned.png", (30, 40))), np.asarray(picture))


# lidar


def cloud(path: Path) -> np.ndarray:
    return np.fromfile(path, np.float32).reshape(-1, 5)


@pytest.mark.parametrize("values", [3, 4, 6])
@pytest.mark.parametrize("divisible", [True, False])
def test_another_number_of_values_is_named_and_can_be_read(
    copy: Path, section: MakeSection, values: int, divisible: bool
) -> None:
    expected = build_dataset(section(), copy, "train", seed=0).sample(0, 0)["depth"]
    for path in files(copy, "LIDAR_TOP"):
        points = cloud(path)
        points = np.concatenate([points, points[:, 3:4] * 0.01], 1)[:, :values]
        count = len(points) // 5 * 5 - (0 if divisible else 1)
        points[:count].tofile(path)
    for line in (refusal(copy, section()), stopping(copy)):
        assert f"has the layout of {values} floats a point" in line and f"data.lidar_values={values}" in line
    dataset = build_dataset(section(lidar_values=values), copy, "train", seed=0)
    dataset.check()
    assert stopping(copy, section=section(lidar_values=values)) == ""
    differing = dataset.sample(0, 0)["depth"] != expected
    assert differing.sum() <= 24  # the last points of the file were cut off


def test_the_declared_layout_is_believed_whatever_the_columns_hold() -> None:
    rng = np.random.default_rng(0)
    places = rng.normal(0, [20, 20, 1], (2000, 3))
    for extra in (np.zeros((2000, 2)), rng.random((2000, 2)), np.stack([np.arange(2000.0), np.ones(2000)], 1)):
        content = np.concatenate([places, extra], 1).astype(np.float32).view(np.uint8).ravel()
        assert likely_values(content, 5) == 5
    assert likely_values(content[:200], 5) == 0


def test_points_that_are_not_finite_are_left_out_and_counted(copy: Path, section: MakeSection) -> None:
    path = files(copy, "LIDAR_TOP")[0]
    points = cloud(path)
    points[:3, 0], points[5, 2] = np.nan, np.inf
    points.tofile(path)
    assert len(read_lidar(path)) == len(points) - 4 and np.isfinite(read_lidar(path)).all()
    dataset = build_dataset(section(), copy, "train", seed=0)
    dataset.check()
    total = sum(len(cloud(path)) for path in files(copy, "LIDAR_TOP")[:6])
    assert f"lidar: 4 of {total} points looked at are not finite and left out" in dataset.notes
    assert stopping(copy) == ""


@pytest.mark.parametrize(("start", "named"), [(b"# .PCD v0.7\n", "a PCD file"), (b"\x93NUMPY\x01\x00", "a NumPy file")])
def test_lidar_files_of_other_formats_are_named(copy: Path, section: MakeSection, start: bytes, named: str) -> None:
    for path in files(copy, "LIDAR_TOP"):
        path.write_bytes(start + bytes(20 * 100 - len(start)))
    assert named in refusal(copy, section()) and named in stopping(copy)


def test_tables_without_lidar_say_what_does_without(copy: Path, edit: Edit, section: MakeSection) -> None:
    def rename(rows: Rows) -> None:
        next(row for row in rows if row["channel"] == "LIDAR_TOP").update(channel="LIDAR_ROOF")

    edit(copy, "sensor", rename)
    assert "there is no LIDAR_TOP. Set data.depth_labels=false" in refusal(copy, section())
    assert "their pose is needed, files are not" in refusal(copy, queue())
    for part in ("train", "eval"):
        build_dataset(section(depth_labels=False), copy, part, seed=0).check()  # type: ignore[arg-type]


def test_lidar_that_no_camera_sees_is_refused(copy: Path, section: MakeSection) -> None:
    for path in files(copy, "LIDAR_TOP"):
        points = cloud(path)
        points[:, :3] = [0, 0, 500]
        points.tofile(path)
    assert "no lidar point falls into a picture" in refusal(copy, section())
    build_dataset(section(depth_labels=False), copy, "train", seed=0).check()


# poses


@pytest.mark.parametrize("kind", ["sweeps", "queue"])
def test_data_far_from_the_origin_are_the_same(
    copy: Path, root: Path, edit: Edit, section: MakeSection, kind: str
) -> None:
    east, north = 5e5, 4e6
    for name in ("ego_pose", "sample_annotation"):
        edit(copy, name, lambda rows: [row["translation"].__setitem__(0, row["translation"][0] + east) for row in rows])
        edit(
            copy, name, lambda rows: [row["translation"].__setitem__(1, row["translation"][1] + north) for row in rows]
        )
    how = section(sweeps=(0, 1)) if kind == "sweeps" else queue(can_bus="poses")
    here, there = (build_dataset(how, place, "train", seed=0).sample(1, 0) for place in (root, copy))
    for name in ("sensor2ego", "sensor2sensor", "depth") if kind == "sweeps" else ("lidar2img", "can_bus"):
        if name == "can_bus":
            np.testing.assert_allclose(there[name], here[name], rtol=0, atol=1e-6)
        else:
            np.testing.assert_allclose(there[name], here[name], rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(there["boxes"], here["boxes"], rtol=1e-6, atol=1e-6)


# splits


@pytest.mark.parametrize("place", ["v1.0-custom", "."])
def test_splits_of_ones_own_may_have_official_names(copy: Path, section: MakeSection, place: str) -> None:
    (copy / VERSION).rename(copy / "v1.0-custom")
    (copy / "v1.0-custom" / "splits.json").unlink()
    names = [row["name"] for row in json.loads((copy / "v1.0-custom" / "scene.json").read_text())]
    path = copy / place / "splits.json"
    path.write_text(json.dumps({"train": names[:-1], "val": names[-1:], "none": ["scene-9999"]}))
    how = section(version="v1.0-custom", train_split="train", eval_split="val")
    train, evaluation = (build_dataset(how, copy, part, seed=0) for part in ("train", "eval"))  # type: ignore[arg-type]
    assert (len(train), len(evaluation)) == (6, 3)
    assert any("train is that of" in note and "does not hold the official one" in note for note in train.notes)
    line = refusal(copy, section(version="v1.0-custom", train_split="trian"))
    assert "Did you mean 'train'?" in line and "train (2 scenes), val (1 scenes)" in line and "none" not in line
    assert "mini_train" not in line


def test_a_version_without_splits_says_how_to_write_them(copy: Path, section: MakeSection) -> None:
    (copy / VERSION / "splits.json").unlink()
    line = refusal(copy, section())
    assert "holds scenes of no known split" in line and str(copy / VERSION / "splits.json") in line
    assert "no split has a scene here" in stopping(copy)
