"""What is said and refused before the first step: frames that shift, sizes of files and pictures, boxes, summaries."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from radial_recordings import TEST, TRAIN, copy_of, line_of, replace_lines

from portbev.cli import main
from portbev.data import build_dataset
from portbev.errors import DataError
from portbev_radial.config import RadialData
from portbev_radial.converted.convert import convert
from portbev_radial.dataset import RadialDataset
from portbev_radial.recordings.alike import alike
from portbev_radial.recordings.layout import log_file
from portbev_radial.recordings.sensors import read_jpeg


def opened(root: Path, part: str = "train", **values: object) -> RadialDataset:
    data = build_dataset(RadialData.model_validate(values), root, part, seed=0)  # type: ignore[arg-type]
    assert isinstance(data, RadialDataset)
    return data


@pytest.fixture
def copied(recordings: Path, tmp_path: Path) -> Path:
    return copy_of(recordings, tmp_path / "copy")


@pytest.fixture(scope="module")
def conversion(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    parts = ["images", "rt", "labels", "labels_x"]
    return convert(recordings, tmp_path_factory.mktemp("looks") / "out", parts=parts, workers=1).out


@pytest.fixture
def stored(conversion: Path, tmp_path: Path) -> Path:
    return copy_of(conversion, tmp_path / "stored")


def delay(root: Path, sensor: str, nth: int, microseconds: int) -> None:
    """Move an event of a sensor later in time."""
    log = log_file(root / TRAIN)
    number = line_of(log, sensor, nth)
    tokens = log.read_text().splitlines()[number - 1].split()
    tokens[1] = str(int(tokens[1]) + microseconds)
    replace_lines(log, {number: " ".join(tokens)})


def relabel(root: Path, start: str) -> None:
    """Drop the rows of ``labels.csv`` that begin so."""
    table = root / "labels.csv"
    table.write_text("".join(line for line in table.read_text().splitlines(True) if not line.startswith(start)))


# frames


def test_labels_that_a_late_event_would_shift_are_refused_and_the_tolerance_mends_it(
    recordings: Path, copied: Path
) -> None:
    delay(copied, "camera", 2, 30_000)  # two pictures a frame: that of frame 1
    with pytest.raises(DataError) as refused:
        opened(copied)
    said = str(refused.value)
    assert "labels count 3 frames, but 2 remain: 1 are left out" in said and "30.9 ms away, more than 20 ms" in said
    assert refused.value.cure == "Set data.tolerance=30859 (--tolerance 30859)"
    with pytest.raises(DataError, match="would be paired with other frames"):
        convert(copied, copied.parent / "out", parts=["labels"], workers=1)
    mended = opened(copied, tolerance=30_859)
    assert mended.tokens == ["000000", "000001", "000002"] and not any("too far" in note for note in mended.notes)
    np.testing.assert_array_equal(mended.sample(2, 0)["radar"], opened(recordings).sample(2, 0)["radar"])
    opened(copied, "eval")  # another split is not concerned


def test_frames_that_no_label_misses_are_a_note_with_count_and_largest_offset(copied: Path) -> None:
    delay(copied, "camera", 2, 30_000)
    relabel(copied, "2,")
    data = opened(copied)
    (note,) = [note for note in data.notes if "too far away in time" in note]
    assert note.startswith("1 radar frames have an event") and "the farthest 30.9 ms, data.tolerance=20000" in note


def test_timestamps_in_another_unit_are_one_line(copied: Path) -> None:
    log = log_file(copied / TRAIN)
    lines = [line.split() for line in log.read_text().splitlines()]
    log.write_text("\n".join(" ".join([x[0], x[1] + "000", *x[2:4], x[4] + "000", *x[5:]]) for x in lines) + "\n")
    with pytest.raises(DataError, match=r"no samples that can be read.*radar frames are 200 s apart.*microseconds"):
        opened(copied)


def test_boxes_alone_need_neither_recordings_nor_their_times(copied: Path) -> None:
    for log in copied.glob("RECORD*/*.rec"):
        log.unlink()
    data = opened(copied, "eval", radar="none", camera=False)
    assert len(data) == 3 and data.summary().facts["median time between samples [s]"] is None


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("CalibrationTable.npy", {"radar": "ra"}, "which data.radar=ra needs. Fetch it, or choose data.radar=rt"),
        ("camera_calib.npy", {}, "camera's calibration is missing.*data.camera=false and model.camera=false"),
        ("radial_bbox_labels.csv", {}, r"label table is missing.*data.boxes \(--boxes\) may name it elsewhere"),
        ("labels.csv", {}, "label table is missing.*the folder with labels.csv or labels_CVPR.csv"),
    ],
)
def test_a_missing_table_says_what_to_do(copied: Path, name: str, values: dict[str, Any], said: str) -> None:
    (copied / name).unlink()
    with pytest.raises(DataError, match=rf"{name}: .*{said}"):
        opened(copied, **values)


def test_lists_and_boxes_may_begin_with_a_byte_order_mark(stored: Path, conversion: Path) -> None:
    for path in (stored / "ImageSets/train.txt", stored / "labels_x/000000.txt"):
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert opened(stored).digest() == opened(conversion).digest()


# files


@pytest.mark.parametrize(("change", "size"), [(-16, 262_128), (+16, 262_160)], ids=["truncated", "overlong"])
def test_files_of_another_size_are_counted_before_the_first_step(stored: Path, change: int, size: int) -> None:
    opened(stored).check()
    for number in (1, 2):
        os.truncate(stored / f"radars_rt/{number:06d}.bin", 32 * 32 * 16 * 16 + change)
    what = rf"radars_rt/000001\.bin: has {size} bytes, expected 262144: 2 of 3 files of radars_rt"
    with pytest.raises(DataError, match=what):
        opened(stored).check()


def test_a_truncated_picture_is_found_before_the_first_step(stored: Path) -> None:
    path = stored / "images/000002.png"
    os.truncate(path, path.stat().st_size // 2)
    with pytest.raises(DataError, match=r"images/000002\.png: picture is truncated\. Remove the file"):
        opened(stored).check()
    path.write_bytes(b"")
    with pytest.raises(DataError, match=r"images/000002\.png: picture is damaged"):
        opened(stored).check()


def test_samples_left_out_for_one_reason_are_one_line(stored: Path) -> None:
    for number in (0, 2):
        (stored / f"images/{number:06d}.png").unlink()
    data = opened(stored)
    (note,) = data.source.problems
    assert note == f"2 like this one: sample 000000 is left out: {stored / 'images/000000.png'} is missing"
    assert data.tokens == ["000001"] and data.summary().facts["samples left out"] == 2


def test_lines_that_differ_in_numbers_alone_are_counted() -> None:
    lines = ["sample 1: radar_ch1 has 3.5", "sample 2: radar_ch2 has 7", "sample 5: radar_ch1 has 12"]
    assert alike(lines) == ["2 like this one: sample 1: radar_ch1 has 3.5", "sample 2: radar_ch2 has 7"]


# pictures


def test_pictures_of_several_sizes_are_one_line(stored: Path) -> None:
    Image.new("RGB", (64, 96)).save(stored / "images/000001.png")
    data = opened(stored)
    with pytest.raises(DataError, match="1 pictures are not 96 x 64 as the others: sample 000001 has 64 x 96"):
        data.check()
    with pytest.raises(DataError, match="the picture of sample 000001 is 64 x 96, others are 96 x 64"):
        data.sample(1, 0)  # in a process that has not looked


def test_pictures_of_another_size_than_the_calibration_are_one_line(stored: Path) -> None:
    for path in (stored / "images").iterdir():
        Image.open(path).resize((48, 32)).save(path)
    with pytest.raises(DataError, match=r"pictures are 48 x 32, but the middle of the camera's calibration is at"):
        opened(stored).check()


def test_grey_deep_and_transparent_pictures_are_read_as_what_they_show(stored: Path) -> None:
    path = stored / "images/000000.png"
    grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    assert grey is not None
    expected = np.repeat(grey[..., None], 3, 2)
    data = opened(stored)
    for pixels in (grey, grey.astype(np.uint16) * 257, np.concatenate([expected, expected[..., :1] // 2], 2)):
        cv2.imwrite(str(path), pixels)
        np.testing.assert_array_equal(data.source.picture(0), expected)


def test_a_picture_that_declares_a_huge_size_is_one_line(stored: Path) -> None:
    path = stored / "images/000000.png"
    data = path.read_bytes()
    header = b"IHDR" + struct.pack(">II", 60_000, 60_000) + data[24:29]
    path.write_bytes(data[:12] + header + struct.pack(">I", zlib.crc32(header)) + data[33:])
    source = opened(stored).source
    with pytest.raises(DataError, match=r"images/000000\.png: picture is damaged"):
        source.picture(0)
    with pytest.raises(DataError, match=r"images/000000\.png: picture is damaged"):
        source.sizes()


def test_pictures_are_not_turned_by_what_cameras_say_of_their_position(stored: Path, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    pixels = np.zeros((16, 32, 3), np.uint8)
    pixels[:8] = 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", exif=exif)
    path = tmp_path / "camera.mjpg"
    path.write_bytes(buffer.getvalue())
    picture = read_jpeg(path, 0, len(buffer.getvalue()))
    assert picture.shape == (16, 32, 3) and picture[:7].min() > 200 and picture[9:].max() < 50
    whole = Image.open(stored / "images/000000.png")
    before = np.asarray(whole)
    whole.save(stored / "images/000000.png", exif=exif)
    np.testing.assert_array_equal(opened(stored).source.picture(0)[..., ::-1], before)


# boxes and summaries


def test_boxes_that_cannot_be_meant_do_not_count_and_are_named(stored: Path) -> None:
    rows = ["20 1 0 4 2 1.5 0 0", "nan 1 0 4 2 1.5 0 0", "20 1 0 0 2 1.5 0 0", "1e30 1 0 4 2 1.5 0 0"]
    (stored / "labels_x/000001.txt").write_text("\n".join([*rows, "-5 1 0 4 2 1.5 0 0"]) + "\n")
    for part in ("train", "eval"):
        data = opened(stored, part, eval_split="train").subset([1])
        assert data.sample(0, 0)["boxes"][:, :2].tolist() == data.truth(0)[0][:, :2].tolist() == [[20.0, 1.0]]
        assert data.summary().dropped == {"not finite": 1, "without extent": 1, "outside the range": 2}
        assert data.summary().boxes["car"].read == 5
        (note,) = [note for note in data.notes if "neither trained on nor scored" in note]
        assert note.startswith("4 boxes of train") and "1 not finite, 1 without extent, 2 outside the range" in note


def test_a_split_whose_boxes_all_lie_outside_the_range_says_so(recordings: Path) -> None:
    with pytest.raises(DataError, match=r"no boxes to train on \(\d+ outside the range\)\. Widen data\.x_range"):
        opened(recordings, x_range=(0.0, 0.1))


def test_a_summary_has_the_numbers_that_a_person_looks_at(recordings: Path, conversion: Path) -> None:
    data = opened(recordings, scale=0.7, repeat=2)
    data.check()
    summary = data.summary()
    boxes = np.concatenate([data.truth(index)[0] for index in range(3)])
    assert summary.samples == 3 and summary.kept == len(boxes) == summary.boxes["car"].read
    expected: dict[str, Any] = {
        "samples without boxes": 0,
        "samples left out": 0,
        "median time between samples [s]": 0.2,
        "farthest box [m]": np.hypot(boxes[:, 0], boxes[:, 1]).max(),
        "largest azimuth of a box [deg]": np.degrees(np.abs(np.arctan2(boxes[:, 1], boxes[:, 0]))).max(),
        "share of a picture that is padding": 1 - 44 * 67 / (64 * 96),
    }
    assert summary.facts == pytest.approx(expected)
    other = opened(conversion, "eval").summary()
    assert other.facts["median time between samples [s]"] is None


# one piece of code decides


def test_a_check_of_a_conversion_says_what_training_says(stored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", "radial", str(stored), "--decode"]) == 0
    (stored / "images/000001.png").unlink()
    os.truncate(stored / "radars_rt/000007.bin", 100)
    capsys.readouterr()
    assert main(["data", "check", "radial", str(stored)]) == 2
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3 and said[-1].endswith("2 problems")
    assert said[0] == opened(stored).source.problems[0]
    with pytest.raises(DataError) as refused:
        opened(stored, "eval").check()
    assert said[1] == f"test: {refused.value}"
    assert main(["data", "check", "radial", str(stored), "--no-camera", "--radar", "ra"]) == 2
    assert "radars_ra" in capsys.readouterr().out


def test_a_check_asks_for_what_is_trained_on_alone(copied: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (copied / "CalibrationTable.npy").unlink()
    for path in [*copied.glob("RECORD*/*_scala.bin"), *copied.glob("RECORD*/*_can.bin")]:
        path.unlink()
    assert main(["data", "check", "radial", str(copied)]) == 0
    said = capsys.readouterr().out
    assert "not needed for rt: " in said and "9 labelled frames have no lidar scan" in said
    assert main(["data", "check", "radial", str(copied), "--radar", "ra"]) == 2
    assert "CalibrationTable.npy" in capsys.readouterr().out
    for path in copied.glob(f"{TEST}/*.mjpg"):
        path.unlink()
    assert main(["data", "check", "radial", str(copied)]) == 2
    assert "3 like this one: sample 000006 is left out" in capsys.readouterr().out
    assert main(["data", "check", "radial", str(copied), "--no-camera"]) == 0
