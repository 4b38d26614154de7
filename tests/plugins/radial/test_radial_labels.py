"""Label tables, the camera's calibration and the radar's description: what is read, and what is refused in one line."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from portbev.errors import DataError
from portbev_radial.recordings.calibration import CameraCalibration, read_camera_calibration
from portbev_radial.recordings.description import read_description
from portbev_radial.recordings.labels import (
    BOX_COLUMNS,
    LABEL_COLUMNS,
    NO_BOX,
    box_array,
    is_empty,
    read_box_file,
    read_boxes,
    read_labels,
)

ROW = "7,1,2,3,4,5.5,0.1,-0.5,-0.1,5.50,5.5,-1.0,0.3,12,RECORD@a,4,0"


def label_file(path: Path, *rows: str, header: str = ",".join(LABEL_COLUMNS)) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def box_file(path: Path, *rows: str) -> Path:
    return label_file(path, *rows, header=",".join(BOX_COLUMNS))


def test_labels_keep_their_text_and_group_by_sample(tmp_path: Path) -> None:
    labels, problems = read_labels(label_file(tmp_path / "labels.csv", ROW, ROW.replace("5.50", "6.00")))
    assert not problems
    (label,) = labels.values()
    assert (label.number, label.sequence, label.index, len(label.rows)) == (7, "RECORD@a", 4, 2)
    assert label.rows[0] == tuple(ROW.split(","))


def test_labels_come_in_order_of_their_number_with_tabs_and_the_older_doppler_name(tmp_path: Path) -> None:
    header = "\t".join(LABEL_COLUMNS).replace("radar_D_mps", "radar_D")
    rows = [ROW.replace(",", "\t"), "3" + ROW[1:].replace(",4,0", ",2,0").replace(",", "\t")]
    labels, _ = read_labels(label_file(tmp_path / "labels.csv", *rows, header=header))
    assert list(labels) == [3, 7]


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("8,1,2", "3 fields, expected 17"),
        (ROW.replace("7,", "x,", 1), "could not convert"),
        (ROW.replace("7,", "-1,", 1), "'-1' is no sample number"),
        (ROW.replace(",4,0", ",5,0"), "sample 7 is frame 4 of RECORD@a in an earlier row"),
    ],
)
def test_a_bad_label_row_is_one_line_and_the_others_stay(tmp_path: Path, row: str, what: str) -> None:
    labels, problems = read_labels(label_file(tmp_path / "labels.csv", ROW, row))
    assert len(labels[7].rows) == 1 and len(labels) == 1
    (problem,) = problems
    assert f"labels.csv:3: {what}" in problem


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column 'index'"):
        read_labels(label_file(tmp_path / "labels.csv", header=",".join(LABEL_COLUMNS).replace("index", "idx")))
    with pytest.raises(DataError, match=r"absent\.csv: label table is missing"):
        read_labels(tmp_path / "absent.csv")


def test_boxes_are_read_and_class_minus_one_is_no_object(tmp_path: Path) -> None:
    path = box_file(
        tmp_path / "b.csv", "0,10,1,0.5,4,1.8,1.5,0.25,0", "1,-1.0,-1.0,-1,-1,-1,-1,-1,-1", "2,1,nan,1,1,1,1,0,0"
    )
    boxes, problems = read_boxes(path)
    assert boxes[1] == [NO_BOX] and is_empty(boxes[1])
    assert box_array(boxes[1]).shape == (0, 9)
    np.testing.assert_array_equal(box_array(boxes[0]), [[10, 1, 0.5, 4, 1.8, 1.5, 0.25, 0, 0]])
    assert len(problems) == 1 and "b.csv:4: a number is not finite" in problems[0]


def test_emptiness_is_decided_by_the_second_field_of_every_row() -> None:
    """EchoFusion's rule: a lone object with y written as -1 counts as none."""
    assert is_empty([("10", "-1", "0", "4", "2", "1.5", "0")])
    assert not is_empty([("10", "-1.0", "0", "4", "2", "1.5", "0")])
    assert not is_empty([NO_BOX, ("10", "2", "0", "4", "2", "1.5", "0")])


@pytest.mark.parametrize("text", ["1 2 3 4 5 6\n", "1 2 3 4 5 6 x\n"])
def test_a_bad_box_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "000001.txt").write_text(text)
    with pytest.raises(DataError, match=r"000001\.txt: cannot be read"):
        read_box_file(tmp_path / "000001.txt")


def calibration() -> CameraCalibration:
    return CameraCalibration(
        np.array([[1800.0, 0, 950], [0, 1790, 560], [0, 0, 1]]),
        np.array([-0.1, 0.05, 1e-3, -2e-3, 0.01]),
        np.array([1.6, 0.02, -0.03]),
        np.array([0.1, 1.2, 1.4]),
    )


def save(path: Path, table: Any) -> Path:
    np.save(path, np.array(table, dtype=object), allow_pickle=True)
    return path


def test_the_cameras_calibration_comes_back(tmp_path: Path) -> None:
    table = calibration().as_dict()
    table["extrinsic"]["rotation_vector"] = table["extrinsic"]["rotation_vector"].reshape(3, 1)
    read = read_camera_calibration(save(tmp_path / "camera_calib.npy", table))
    for name in ("intrinsic", "distortion", "rotation", "translation"):
        np.testing.assert_array_equal(getattr(read, name), getattr(calibration(), name))


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch owned",)


def test_a_calibration_that_would_execute_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "camera_calib.npy", {**calibration().as_dict(), "extra": Malice()})
    with pytest.raises(DataError, match=r"camera_calib\.npy: .*execute code"):
        read_camera_calibration(path)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("group", "name", "value", "what"),
    [
        ("intrinsic", "camera_matrix", np.eye(4), "shape (4, 4), expected (3, 3)"),
        ("intrinsic", "distortion_coefficients", np.full(5, np.nan), "finite"),
        ("extrinsic", "rotation_vector", None, "no ['extrinsic']['rotation_vector']"),
    ],
)
def test_a_calibration_of_another_shape_is_one_line(
    tmp_path: Path, group: str, name: str, value: Any, what: str
) -> None:
    table = calibration().as_dict()
    table[group][name] = value
    with pytest.raises(DataError) as caught:
        read_camera_calibration(save(tmp_path / "camera_calib.npy", table))
    assert what in str(caught.value)


def test_points_of_the_radar_frame_project_as_opencv_projects_the_world() -> None:
    camera = calibration()
    points = np.array([[20.0, -5.0, 0.3], [12.0, 3.0, -0.5], [40.0, 0.0, 1.0]])
    world = np.array([[5.0, 20.0, 0.3], [-3.0, 12.0, -0.5], [0.0, 40.0, 1.0]])  # X right, Y forward, Z up
    expected, _ = cv2.projectPoints(world, camera.rotation, camera.translation, camera.intrinsic, camera.distortion)
    found = camera.project(points)
    np.testing.assert_allclose(found[:, :2], expected.reshape(-1, 2), atol=1e-9)
    assert found[0, 0] > found[2, 0] > found[1, 0]  # what is to the right lies to the right in the picture
    np.testing.assert_allclose(camera.matrix @ camera.position, -camera.translation, atol=1e-12)


def test_a_root_without_description_is_radials_radar(tmp_path: Path) -> None:
    assert (read_description(tmp_path).samples, read_description(tmp_path).values_per_chip) == (512, 1_048_576)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("{", "cannot be read"),
        ("[]", "holds no description"),
        (json.dumps({"sample": 64}), "unknown field 'sample'. Did you mean 'samples'"),
        (json.dumps({"chirps": 20}), "does not describe a radar"),
        (json.dumps({"chirps": "many"}), "does not describe a radar"),
    ],
)
def test_a_bad_description_is_one_line(tmp_path: Path, content: str, what: str) -> None:
    (tmp_path / "radar.json").write_text(content)
    with pytest.raises(DataError) as caught:
        read_description(tmp_path)
    assert what in str(caught.value)
