"""The converter: files, dtypes and shapes of the layout, interruption, faults that cost one frame, the command."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from radial_recordings import TEST, TINY, TRAIN, VAL, contents, copy_of, line_of, replace_lines

from portbev.cli import main
from portbev.errors import ConfigError, DataError
from portbev_radial.converted.convert import PARTS, convert
from portbev_radial.recordings.labels import box_array
from portbev_radial.recordings.layout import RADAR_CHIPS, log_file, sensor_file
from portbev_radial.recordings.raw import RawRoot

FRAME = (TINY.samples, TINY.chirps, 16)


@pytest.fixture(scope="module")
def converted(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert(recordings, tmp_path_factory.mktemp("converted") / "out", workers=1).out


@pytest.fixture
def damaged(recordings: Path, tmp_path: Path) -> Path:
    return copy_of(recordings, tmp_path / "copy")


def test_the_layout_has_exactly_its_files(converted: Path) -> None:
    parts = {
        "images": "png", "lidars": "bin", "radars_adc": "bin", "radars_rt": "bin", "radars_rd": "bin",
        "radars_ra": "bin", "radars_pcd": "bin", "labels": "txt", "labels_x": "txt",
    }  # fmt: skip
    expected = {f"{folder}/{number:06d}.{suffix}" for folder, suffix in parts.items() for number in range(9)}
    expected |= {f"ImageSets/{split}.txt" for split in ("train", "val", "test")}
    expected |= {f"radialx_infos_{split}.pkl" for split in ("train", "val", "trainval", "test")}
    expected |= {"calibs/camera_calib.npy", "CalibrationTable.npy", "radar.json"}  # the last: not RADIal's own radar
    assert set(contents(converted)) == expected


def test_dtypes_and_shapes_are_the_originals(recordings: Path, converted: Path) -> None:
    root = RawRoot(recordings)
    for number, label in root.labels.items():
        name = f"{number:06d}"
        for part in ("adc", "rt", "rd"):
            assert np.fromfile(converted / f"radars_{part}" / f"{name}.bin", np.complex128).size == np.prod(FRAME)
        assert np.fromfile(converted / "radars_ra" / f"{name}.bin", np.float64).size == TINY.samples * TINY.azimuths
        assert np.fromfile(converted / "radars_pcd" / f"{name}.bin", np.float32).size % 4 == 0
        lidar = np.fromfile(converted / "lidars" / f"{name}.bin", np.float32).reshape(-1, 11)
        np.testing.assert_array_equal(lidar, root.lidar(label))
        picture = cv2.imread(str(converted / "images" / f"{name}.png"))
        np.testing.assert_array_equal(picture, root.picture(label))


def test_maps_follow_the_definition(recordings: Path, converted: Path) -> None:
    """ADC, RT and RD written out once more: chips 3 0 1 2, means taken away, Hamming windows, plain transforms."""
    root = RawRoot(recordings)
    samples, chirps, _ = FRAME
    chips = root.radar_samples(root.labels[4]).astype(np.float64)
    complex_chips = (chips[:, 0::2] + 1j * chips[:, 1::2]).reshape(4, chirps, 4, samples)
    frame = np.concatenate([complex_chips[chip].transpose(2, 0, 1) for chip in (3, 0, 1, 2)], axis=2)
    adc = frame - frame.mean((0, 1))

    def window(length: int) -> np.ndarray:
        return 0.54 - 0.46 * np.cos(2 * np.pi * np.arange(length) / (length - 1))

    rt = np.fft.fft(adc * window(samples)[:, None, None], axis=0)
    rd = np.fft.fft(rt * window(chirps)[None, :, None], axis=1)
    for part, expected in (("adc", adc), ("rt", rt), ("rd", rd)):
        found = np.fromfile(converted / f"radars_{part}" / "000004.bin", np.complex128).reshape(FRAME)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-10 * np.abs(expected).max())


def test_points_lie_in_reach_and_within_the_tables_angles(converted: Path) -> None:
    points = np.concatenate([np.fromfile(p, np.float32).reshape(-1, 4) for p in converted.glob("radars_pcd/*.bin")])
    assert len(points) > 20
    assert points[:, 0].min() >= 0 and points[:, 0].max() < 103
    assert set(np.unique(points[:, 1]).tolist()) <= set(range(TINY.chirps))
    assert np.abs(points[:, 2]).max() <= np.deg2rad(75) + 1e-6 and np.abs(points[:, 3]).max() <= np.deg2rad(5) + 1e-6


def test_lists_labels_and_boxes_are_text_in_order(recordings: Path, converted: Path) -> None:
    assert (converted / "ImageSets/val.txt").read_text() == "000003\n000004\n000005\n"
    root = RawRoot(recordings)
    for number, label in root.labels.items():
        rows = [line.split(" ") for line in (converted / f"labels/{number:06d}.txt").read_text().splitlines()]
        assert rows == [list(row) for row in label.rows] and all(len(row) == 17 for row in rows)
        boxes = [line.split(" ") for line in (converted / f"labels_x/{number:06d}.txt").read_text().splitlines()]
        assert [tuple(row) for row in boxes] == root.boxes[number]


def test_infos_have_the_originals_fields(recordings: Path, converted: Path) -> None:
    root = RawRoot(recordings)
    infos = {
        split: pickle.loads((converted / f"radialx_infos_{split}.pkl").read_bytes())
        for split in ("train", "val", "trainval", "test")
    }
    assert [info["image"]["image_idx"] for info in infos["trainval"]] == [0, 1, 2, 3, 4, 5]
    for info in infos["trainval"] + infos["test"]:
        number = info["image"]["image_idx"]
        assert set(info) == {"image", "radar", "point_cloud", "calib", "annos"}
        assert info["image"]["image_path"] == f"images/{number:06d}.png"
        assert info["image"]["image_shape"].tolist() == [64, 96]
        assert info["point_cloud"] == {"num_features": 11, "lidars_path": f"lidars/{number:06d}.bin"}
        assert set(info["calib"]) == {"rvec", "tvec", "cam_mat", "dist_coeffs"}
        boxes, annos = box_array(root.boxes[number]), info["annos"]
        assert annos["name"].tolist() == ["Car"] * len(boxes) and annos["doppler"] == []
        np.testing.assert_array_equal(annos["dimensions"], boxes[:, 3:6])
        np.testing.assert_array_equal(annos["rotation_y"], boxes[:, 6])
        np.testing.assert_allclose(annos["location"][:, 2], boxes[:, 2] - boxes[:, 5] / 2)
        assert annos["location"].shape == (len(boxes), 3) and (annos["alpha"] == -10).all()


def test_the_bytes_do_not_depend_on_the_number_of_workers(recordings: Path, converted: Path, tmp_path: Path) -> None:
    assert contents(convert(recordings, tmp_path / "out", workers=2).out) == contents(converted)


def test_an_interrupted_conversion_ends_with_the_same_bytes(recordings: Path, converted: Path, tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        if done == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(recordings, tmp_path / "out", workers=1, progress=stop)
    assert not (tmp_path / "out/ImageSets").exists()
    assert contents(convert(recordings, tmp_path / "out", workers=1).out) == contents(converted)


@pytest.mark.slow
def test_a_killed_command_goes_on_and_ends_with_the_same_bytes(
    recordings: Path, converted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [
        sys.executable,
        "-m",
        "portbev",
        "data",
        "convert",
        "radial",
        str(recordings),
        str(out),
        "--workers",
        "2",
    ]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + 120
        while not list(out.glob("radars_rd/0*.bin")) and time.monotonic() < deadline:
            time.sleep(0.005)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    (out / "images/.000001.png.abc.part").write_bytes(b"half")
    assert contents(convert(recordings, out, workers=1).out) == contents(converted)


def test_parts_are_chosen_and_added_later(recordings: Path, converted: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    convert(recordings, out, parts=["images", "rt"], workers=1)
    assert {path.parent.name for path in out.glob("*/0*")} == {"images", "radars_rt"}
    assert not list(out.glob("*.pkl"))
    stamp = (out / "radars_rt/000000.bin").stat().st_mtime_ns
    assert contents(convert(recordings, out, workers=1).out) == contents(converted)
    assert (out / "radars_rt/000000.bin").stat().st_mtime_ns == stamp


def test_converting_twice_changes_nothing(recordings: Path, converted: Path, tmp_path: Path) -> None:
    out = copy_of(converted, tmp_path / "out")
    before = contents(out)
    assert contents(convert(recordings, out, workers=1).out) == before == contents(converted)


def test_an_unknown_part_names_the_nearest(recordings: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'pcd'"):
        convert(recordings, tmp_path / "out", parts=["pc"])


def test_what_is_no_conversion_of_these_recordings_is_refused(
    recordings: Path, converted: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other/notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is no conversion"):
        convert(recordings, tmp_path / "other")
    with pytest.raises(DataError, match="is the data root itself"):
        convert(recordings, recordings)
    mixed = copy_of(converted, tmp_path / "mixed")
    (mixed / "labels/000002.txt").write_text("1 2 3\n")
    with pytest.raises(DataError, match="conversion of something else: sample 000002"):
        convert(recordings, mixed)


def test_too_little_room_is_told_before_anything_is_written(
    recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1 << 20))
    with pytest.raises(DataError, match=r"27 radar frames of 0\.3 MB do not fit"):
        convert(recordings, tmp_path / "out", workers=1)
    assert not list((tmp_path / "out").glob("radars_*"))


def truncate(root: Path) -> str:
    path = sensor_file(root / TRAIN, "radar_ch2")
    os.truncate(path, path.stat().st_size - 100)
    return "truncated"


def shorten(root: Path) -> str:
    log = log_file(root / TRAIN)
    number = line_of(log, "radar_ch0", 2)
    replace_lines(log, {number: " ".join(log.read_text().splitlines()[number - 1].split()[:9])})
    return f"{log}:{number}: log line has 9 fields"


def cut_size(root: Path) -> str:
    log = log_file(root / TRAIN)
    number = line_of(log, "radar_ch3", 3)
    replace_lines(log, {number: log.read_text().splitlines()[number - 1][:-2]})
    return "bytes, expected 16384"


def cut_place(root: Path) -> str:
    log = log_file(root / TRAIN)
    number = line_of(log, "camera", 4)
    replace_lines(log, {number: " ".join(log.read_text().splitlines()[number - 1].split()[:15])})
    return f"{log}:{number}: camera event of radar frame"


def lose_partner(root: Path) -> str:
    log = log_file(root / TRAIN)
    replace_lines(log, {line_of(log, "radar_ch1", 2): None})
    return "is left out: radar_ch1 has no sample"


def spoil_picture(root: Path) -> str:
    log = log_file(root / TRAIN)
    tokens = log.read_text().splitlines()[line_of(log, "camera", 4) - 1].split()
    with open(sensor_file(root / TRAIN, "camera"), "r+b") as file:
        file.seek(int(tokens[13]))
        file.write(bytes(int(tokens[16])))
    return "picture at byte"


@pytest.mark.parametrize(
    ("damage", "workers"),
    [
        (truncate, 1),
        (shorten, 1),
        (cut_size, 1),
        (cut_place, 1),
        (lose_partner, 1),
        (spoil_picture, 1),
        (spoil_picture, 2),
    ],
)
def test_a_damaged_frame_is_one_line_and_no_other_is_lost(
    damaged: Path, converted: Path, tmp_path: Path, damage: Callable[[Path], str], workers: int
) -> None:
    line = damage(damaged)
    done = convert(damaged, tmp_path / "out", workers=workers)
    assert done.samples == [0, 1, 3, 4, 5, 6, 7, 8] and done.lost == 1
    assert sum(line in problem for problem in done.problems) == 1
    assert sum("sample 000002" in problem for problem in done.problems) == 1
    found, whole = contents(done.out), contents(converted)
    assert (done.out / "ImageSets/train.txt").read_text() == "000000\n000001\n"
    changed = {path for path in whole if found.get(path) != whole[path]}
    assert all("000002" in path or "train" in path for path in changed)


def test_a_calibration_table_of_another_shape_costs_only_what_needs_it(
    damaged: Path, converted: Path, tmp_path: Path
) -> None:
    table = np.load(damaged / "CalibrationTable.npy", allow_pickle=True).item()
    table["Signal"] = table["Signal"][:, :100]
    np.save(damaged / "CalibrationTable.npy", np.array(table, object), allow_pickle=True)
    done = convert(damaged, tmp_path / "out", workers=1)
    (line,) = [problem for problem in done.problems if "CalibrationTable" in problem]
    assert line.startswith("ra and pcd are left out: ") and "(31, 100, 6)" in line
    found, whole = contents(done.out), contents(converted)
    lost = {path for path in whole if path not in found}
    assert lost == {f"radars_{part}/{number:06d}.bin" for part in ("ra", "pcd") for number in range(9)}
    assert {path for path in found if found[path] != whole[path]} == {"CalibrationTable.npy"}


def test_samples_without_row_in_the_box_table_are_empty(damaged: Path, tmp_path: Path) -> None:
    path = damaged / "radial_bbox_labels.csv"
    path.write_text("\n".join(line for line in path.read_text().splitlines() if not line.startswith("1,")) + "\n")
    done = convert(damaged, tmp_path / "out", parts=["labels_x"], workers=1)
    assert (done.out / "labels_x/000001.txt").read_text() == "-1 -1 -1 -1 -1 -1 -1 -1\n"


def test_the_box_table_may_lie_elsewhere(damaged: Path, converted: Path, tmp_path: Path) -> None:
    (damaged / "radial_bbox_labels.csv").rename(tmp_path / "boxes.csv")
    with pytest.raises(DataError, match=r"radial_bbox_labels\.csv: label table is missing"):
        convert(damaged, tmp_path / "out", workers=1)
    done = convert(damaged, tmp_path / "out", boxes=tmp_path / "boxes.csv", workers=1)
    assert contents(done.out) == contents(converted)


def test_commands_make_convert_and_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made, out = str(tmp_path / "made"), str(tmp_path / "out")
    small = ["--samples", "16", "--chirps", "16", "--azimuths", "5", "--elevations", "6", "--image-size", "32x32"]
    counts = ["--sequences", "2", "--frames", "2", "--workers", "1"]
    assert main(["data", "synth", "radial", made, *counts, *small]) == 0
    assert "2 sequences (1 of train, 0 of val, 1 of test), 4 frames" in capsys.readouterr().out
    assert main(["data", "convert", "radial", made, out, "--parts", "images,rt,labels", "--workers", "1"]) == 0
    assert "4 samples" in capsys.readouterr().out
    assert not (tmp_path / "out/radars_ra").exists()
    sensor_file(tmp_path / "made" / TEST, "radar_ch0").unlink()
    assert main(["data", "convert", "radial", made, str(tmp_path / "less"), "--parts", "rt", "--workers", "1"]) == 2
    said = capsys.readouterr()
    assert "2 samples, 2 lost" in said.out and said.err.count("is left out: ") == 2  # samples, and first radar frames
    assert said.err.count("2 like this one: ") == 2
    assert main(["data", "convert", "radial", str(tmp_path / "absent"), out]) == 2
    assert "no such data root" in capsys.readouterr().err
    assert main(["data", "synth", "radial", str(tmp_path / "x"), "--chirps", "17"]) == 2
    assert "multiple of 16" in capsys.readouterr().err


def test_a_check_tells_every_problem(recordings: Path, damaged: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "radial", str(recordings), "--decode"]) == 0
    assert "complete and consistent" in capsys.readouterr().out
    truncate(damaged)
    spoil_picture(damaged)
    (damaged / "CalibrationTable.npy").unlink()
    sensor_file(damaged / VAL, "scala").unlink()
    path = sensor_file(damaged / TEST, "camera")
    path.write_bytes(bytes(path.stat().st_size))
    assert main(["data", "check", "radial", str(damaged), "--decode"]) == 2
    said = capsys.readouterr().out.splitlines()
    assert said[-1].endswith("4 problems") and len(said) == 7
    for line in (
        "not needed for rt: ",
        "not needed for training: 3 labelled frames have no lidar scan",
        "sample 000002 is left out",
        "sample 000006: ",
        "sample 000007: ",
        "sample 000008: ",
    ):
        assert sum(line in other for other in said) == 1


def test_raw_training_needs_at_most_a_quarter_of_the_converted_bytes(recordings: Path, converted: Path) -> None:
    root = RawRoot(recordings)
    raw = sum(
        root.recording(label.sequence)._locate(root.recording(label.sequence).frame(label.index), sensor)[1]
        for label in root.labels.values()
        for sensor in (*RADAR_CHIPS, "camera")
    )
    least = sum(path.stat().st_size for part in ("radars_rt", "images") for path in converted.glob(f"{part}/*"))
    assert raw <= least / 4


def test_all_parts_is_the_default_of_the_function() -> None:
    assert PARTS == ("images", "lidars", "adc", "rt", "rd", "ra", "pcd", "labels", "labels_x", "infos")
