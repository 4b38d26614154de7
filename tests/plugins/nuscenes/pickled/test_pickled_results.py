"""mmdet3d's ``results.pkl`` scores as the same boxes do in a submission, whichever version wrote it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from standin_pickles import VERSION, by_time, quaternions

from portbev.cli import main
from portbev.errors import ResultsError
from portbev.files import parse_json
from portbev.geometry import inverse_pose, pose, quaternion_yaw, transform
from portbev_nuscenes.benchmark import NuscenesBenchmark
from portbev_nuscenes.classes import ATTRIBUTES, CATEGORY_TO_CLASS, DETECTION_CLASSES
from portbev_nuscenes.metrics.submission import load_predictions
from portbev_nuscenes.pickled.conventions import ORDERS
from portbev_nuscenes.pickled.results import load_results
from portbev_nuscenes.tables.index import Index

SPLIT = "synth_val"


def lidar_rows(index: Index, sample: int, layout: str) -> tuple[np.ndarray, list[str]]:
    """The annotated boxes as mmdet3d has them, with a velocity, and their classes."""
    lidar_t, lidar_r, ego_t, ego_r, _ = quaternions(index, sample, "LIDAR_TOP")
    matrix = pose(ego_r, ego_t) @ pose(lidar_r, lidar_t)
    rows = slice(*index.box_start[sample : sample + 2])
    names = [CATEGORY_TO_CLASS.get(index.categories[one].decode(), "") for one in index.box_category[rows]]
    keep = [place for place, name in enumerate(names) if name]
    centre = transform(inverse_pose(matrix), index.box_translation[rows])[keep]
    wlh = index.box_size[rows][keep]
    headings = np.stack([np.cos(yaw := quaternion_yaw(index.box_rotation[rows][keep])), np.sin(yaw), 0 * yaw], -1)
    local = headings @ matrix[:3, :3]
    yaw = np.arctan2(local[:, 1], local[:, 0])
    velocity = (np.array([[0.5, 0.1, 0.0]]) @ matrix[:3, :3])[:, :2].repeat(len(keep), 0)
    centre[:, 2] -= wlh[:, 2] / 2
    if layout == "0":
        made = np.concatenate([centre, wlh, -yaw[:, None] - np.pi / 2, velocity], 1)
    else:
        made = np.concatenate([centre, wlh[:, [1, 0, 2]], yaw[:, None], velocity], 1)
    return made, [names[place] for place in keep]


def elements(index: Index, layout: str, make: Any, order: tuple[str, ...] = DETECTION_CLASSES) -> list[dict[str, Any]]:
    found = []
    for number, sample in enumerate(by_time(index, index.samples_of(scenes(index)))):
        rows, names = lidar_rows(index, sample, layout)
        labels = torch.tensor([order.index(name) for name in names])
        scores = torch.linspace(0.9, 0.3, len(rows)) - 0.01 * number
        boxes = make(torch.from_numpy(rows.astype(np.float32)))
        found.append({"boxes_3d": boxes, "scores_3d": scores, "labels_3d": labels})
    return found


def scenes(index: Index) -> tuple[str, ...]:
    return (index.scenes[-1].decode(),)


def score(path: Path, root: Path, **how: Any) -> dict[str, Any]:
    return NuscenesBenchmark().score_file(path, data_root=str(root), version=VERSION, split=SPLIT, **how)


def submission(index: Index, root: Path, path: Path) -> dict[str, Any]:
    """The same boxes from the tables, in a submission's form."""
    results: dict[str, list[Any]] = {}
    for number, sample in enumerate(by_time(index, index.samples_of(scenes(index)))):
        rows = range(*index.box_start[sample : sample + 2])
        kept = [row for row in rows if index.categories[index.box_category[row]].decode() in CATEGORY_TO_CLASS]
        scores = torch.linspace(0.9, 0.3, len(kept)) - 0.01 * number
        results[index.token(sample)] = [
            {
                "sample_token": index.token(sample),
                "translation": index.box_translation[row].tolist(),
                "size": index.box_size[row].tolist(),
                "rotation": index.box_rotation[row].tolist(),
                "velocity": [0.5, 0.1],
                "detection_name": CATEGORY_TO_CLASS[index.categories[index.box_category[row]].decode()],
                "detection_score": float(score),
                "attribute_name": "",
            }
            for row, score in zip(kept, scores, strict=True)
        ]
    import json

    path.write_text(json.dumps({"meta": {"use_camera": True}, "results": results}))
    return score(path, root)


@pytest.mark.parametrize("layout", ["0", "1"])
@pytest.mark.parametrize("protocol", [2, 5])
def test_a_pickle_scores_as_the_submission_of_the_same_boxes(
    layout: str, protocol: int, root: Path, index: Index, box_class: Any, tmp_path: Path
) -> None:
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps([{"pts_bbox": one} for one in elements(index, layout, box_class(layout))], protocol))
    expected, found = submission(index, root, tmp_path / "results_nusc.json"), score(path, root)
    assert found["mean_ap"] == expected["mean_ap"] > 0.2
    assert found["boxes"] == expected["boxes"]
    for name in ("trans_err", "scale_err", "orient_err"):
        assert found["tp_errors"][name] == pytest.approx(expected["tp_errors"][name], abs=1e-4)
    assert any("by time" in note for note in found["notes"])
    assert any("does not name its classes" in note for note in found["notes"])


def test_boxes_come_back_to_the_tables_places(root: Path, index: Index, box_class: Any, tmp_path: Path) -> None:
    reference = submission(index, root, tmp_path / "results_nusc.json") and load_predictions(
        tmp_path / "results_nusc.json"
    )
    for layout in ("0", "1"):
        path = tmp_path / f"{layout}.pkl"
        path.write_bytes(pickle.dumps(elements(index, layout, box_class("0")), 4))
        found, notes = load_results(path, root, VERSION, SPLIT)
        assert tuple(found.sample_tokens) == tuple(reference.sample_tokens)
        assert any("before 1.0.0rc0" in note if layout == "0" else "since 1.0.0rc0" in note for note in notes)
        np.testing.assert_array_equal(found.label, reference.label)
        np.testing.assert_allclose(found.translation, reference.translation, atol=2e-4)
        np.testing.assert_allclose(found.size, reference.size, rtol=1e-6)
        np.testing.assert_allclose(found.velocity, reference.velocity, atol=1e-6)
        turned = quaternion_yaw(found.rotation) - quaternion_yaw(reference.rotation)
        np.testing.assert_allclose(np.cos(turned), 1, atol=1e-6)
        moving = [ATTRIBUTES[one] for one in found.attribute[found.label == DETECTION_CLASSES.index("car")]]
        assert set(moving) <= {"vehicle.moving"}


def test_other_nestings_and_orders(root: Path, index: Index, box_class: Any, tmp_path: Path) -> None:
    plain = elements(index, "1", box_class("1"), ORDERS["mmdet3d"])
    renamed = [
        {"bboxes_3d": one["boxes_3d"], "scores_3d": one["scores_3d"], "labels_3d": one["labels_3d"]} for one in plain
    ]
    tokens = [index.token(sample) for sample in by_time(index, index.samples_of(scenes(index)))]
    forms: dict[str, Any] = {
        "bbox_results": {"bbox_results": [{"pts_bbox": one} for one in plain], "mask_results": None},
        "named": [{"pred_instances_3d": one, "token": t} for one, t in zip(renamed[::-1], tokens[::-1], strict=True)],
    }
    expected = submission(index, root, tmp_path / "results_nusc.json")["mean_ap"]
    for name, content in forms.items():
        path = tmp_path / f"{name}.pkl"
        path.write_bytes(pickle.dumps(content))
        record = score(path, root)
        assert record["mean_ap"] == expected
        assert any("order of mmdet3d" in note for note in record["notes"])
        assert any("by time" in note for note in record["notes"]) == (name != "named")


def test_the_command_scores_a_pickle(
    root: Path, index: Index, box_class: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = tmp_path / "results.pkl", tmp_path / "scored"
    path.write_bytes(pickle.dumps([{"pts_bbox": one} for one in elements(index, "0", box_class("0"))]))
    words = ["eval", str(path), "--data-root", str(root), "--version", VERSION, "--split", SPLIT, "--out", str(out)]
    assert main([*words, "--boxes", "mmdet3d-0", "--classes", ",".join(DETECTION_CLASSES)]) == 0
    record = parse_json((out / "metrics.json").read_text())
    assert record["notes"] and not any("are read" in note for note in record["notes"])
    assert "NDS" in capsys.readouterr().out
    assert main([*words[:-1], str(tmp_path / "two"), "--boxes", "mmdet3d"]) == 2
    assert "there is no layout 'mmdet3d'" in capsys.readouterr().err
    assert main(["eval", str(out), "--boxes", "mmdet3d-0"]) == 2


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.mark}",)


def broken(kind: str, good: list[dict[str, Any]], make: Any, tmp_path: Path) -> Any:
    rows = good[0]["boxes_3d"].tensor
    changes: dict[str, Any] = {
        "too few": good[:-1],
        "camera boxes": [{**one, "boxes_3d": make("0", "CameraInstance3DBoxes")(rows)} for one in good],
        "an array": [{**one, "boxes_3d": rows, "x": one["boxes_3d"]} for one in good],
        "no velocity": [{**one, "boxes_3d": make("0")(rows[:, :7])} for one in good],
        "other lengths": [{**good[0], "scores_3d": torch.zeros(1)}, *good[1:]],
        "text": [{**good[0], "scores_3d": "high"}, *good[1:]],
        "nothing": [{"pts_bbox": None, "x": good[0]["boxes_3d"]}],
        "one size": [
            {
                **one,
                "boxes_3d": make("0")(torch.cat([rows[:, :3], torch.ones(len(rows), 3), rows[:, 6:]], 1)),
                **row(rows),
            }
            for one in good
        ],
        "malice": [
            {**one, "boxes_3d": make("0")(rows), "x": Evil(tmp_path / "executed"), **row(rows)} for one in good[:2]
        ],
    }
    return changes[kind]


def row(rows: Any) -> dict[str, Any]:
    return {"scores_3d": torch.ones(len(rows)), "labels_3d": torch.zeros(len(rows), dtype=torch.int64)}


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("too few", "has 2 elements, and split 'synth_val' has 3 samples"),
        ("camera boxes", "CameraInstance3DBoxes, and only boxes in the lidar's frame"),
        ("an array", "so that its frame is not known"),
        ("no velocity", "has 7 numbers a box, nuScenes' have 9"),
        ("other lengths", "element 0: has "),
        ("text", "holds no numbers"),
        ("nothing", "has no boxes_3d"),
        ("one size", "the sizes of the boxes do not show it"),
        ("malice", "has 2 elements"),
    ],
)
def test_what_cannot_be_read_is_one_line(
    kind: str, said: str, root: Path, index: Index, box_class: Any, tmp_path: Path
) -> None:
    path = tmp_path / "results.pkl"
    path.write_bytes(pickle.dumps(broken(kind, elements(index, "0", box_class("0")), box_class, tmp_path)))
    with pytest.raises(ResultsError) as refused:
        score(path, root)
    assert said in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "executed").exists()


def test_a_cut_off_pickle_is_one_line(root: Path, index: Index, box_class: Any, tmp_path: Path) -> None:
    path = tmp_path / "results.pkl"
    whole = pickle.dumps([{"pts_bbox": one} for one in elements(index, "0", box_class("0"))])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ResultsError, match="cut off"):
        score(path, root)
