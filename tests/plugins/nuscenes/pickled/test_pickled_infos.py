"""``portbev data check nuscenes --infos``: right infos pass, each fault is named with sample, field and distance."""

from __future__ import annotations

import copy
import pickle
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from standin_infos import data_list, gen_info, temporal
from standin_pickles import VERSION

from portbev.cli import main
from portbev.errors import DataError
from portbev_nuscenes.checks.problem import Problem
from portbev_nuscenes.pickled.check import check_infos
from portbev_nuscenes.pickled.infos import read_infos
from portbev_nuscenes.pickled.results import load_results
from portbev_nuscenes.tables.index import Index

FORMS: dict[str, Callable[[Index], Any]] = {
    "BEVFormer": temporal,
    "mmdet3d 1.0.0rc": lambda index: temporal(index, new=True),
    "mmdet3d 1.1": data_list,
    "BEVDepth": gen_info,
}


def checked(content: Any, root: Path, folder: Path, protocol: int = 4) -> tuple[list[str], str]:
    """The problems of infos, and the summary."""
    path = folder / "infos.pkl"
    path.write_bytes(pickle.dumps(content, protocol))
    found = list(check_infos(path, root, VERSION))
    assert isinstance(found[-1], str)
    return [str(one) for one in found if isinstance(one, Problem)], found[-1]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("form", FORMS)
def test_infos_of_these_tables_are_whole(form: str, protocol: int, root: Path, index: Index, tmp_path: Path) -> None:
    problems, summary = checked(FORMS[form](index), root, tmp_path, protocol)
    assert problems == []
    assert f"{len(index.sample_token)} infos" in summary
    layout = {"BEVFormer": "mmdet3d-0", "mmdet3d 1.0.0rc": "mmdet3d-1", "mmdet3d 1.1": "mmdet3d-1", "BEVDepth": ""}
    assert summary.endswith(f"boxes in the layout {layout[form]}") or not layout[form]


def test_a_part_of_a_split_is_told(root: Path, index: Index, tmp_path: Path) -> None:
    content = temporal(index)
    half = {**content, "infos": content["infos"][:3]}
    assert "the samples of split synth_" in checked(half, root, tmp_path)[1]
    fewer = {**content, "infos": content["infos"][:2]}
    assert "2 of the 3 samples of split synth_" in checked(fewer, root, tmp_path)[1]


Change = Callable[[Any], Any]


def old(change: Callable[[dict[str, Any]], Any]) -> Change:
    return lambda content: change(content["infos"][1])


def shifted(name: str, *where: str) -> Callable[[dict[str, Any]], Any]:
    """Adds 0.5 to the first number of a field."""

    def change(entry: dict[str, Any]) -> None:
        for part in where:
            entry = entry[part]
        value = np.array(entry[name], float)
        value.flat[0] += 0.5
        entry[name] = value

    return change


FAULTS: list[tuple[str, Change, str]] = [
    ("BEVFormer", old(lambda one: one.update(timestamp=one["timestamp"] + 500_000)), "timestamp is 0.5 s off"),
    ("BEVFormer", old(shifted("ego2global_translation")), "ego2global_translation is 0.5 m off"),
    ("BEVFormer", old(shifted("lidar2ego_rotation")), "lidar2ego_rotation is turned by"),
    ("BEVFormer", old(shifted("cam_intrinsic", "cams", "CAM_BACK")), "cams.CAM_BACK.cam_intrinsic is 0.5 pixels off"),
    (
        "BEVFormer",
        old(shifted("sensor2lidar_translation", "cams", "CAM_BACK")),
        "cams.CAM_BACK.sensor2lidar_translation is 0.5 m off",
    ),
    ("BEVFormer", old(shifted("gt_boxes")), "gt_boxes (centre) of box 0"),
    ("BEVFormer", old(lambda one: one["gt_boxes"][:, 6].__iadd__(0.1)), "gt_boxes (yaw) of box"),
    ("BEVFormer", old(lambda one: one.update(gt_boxes=one["gt_boxes"][1:])), "boxes, the tables"),
    ("BEVFormer", old(lambda one: one["gt_names"].__setitem__(0, "tram")), "gt_names is ['tram'"),
    ("BEVFormer", old(lambda one: one.update(num_lidar_pts=one["num_lidar_pts"] + 1)), "num_lidar_pts is 1 points off"),
    ("BEVFormer", old(lambda one: one.update(next="")), "next is '', the tables say"),
    ("BEVFormer", old(lambda one: one.pop("ego2global_rotation")), "ego2global_rotation is missing"),
    ("BEVFormer", old(lambda one: one.update(lidar_path="./x/other.bin")), "lidar_path is './x/other.bin'"),
    ("BEVFormer", lambda content: content["infos"].append(content["infos"][0]), "samples come more than once"),
    ("BEVFormer", old(lambda one: one.update(token="f" * 32)), "1 of 6 samples are not in the tables"),
    ("BEVFormer", lambda content: content.update(metadata={"version": "v1.0-trainval"}), "is of version v1.0-trainval"),
    ("mmdet3d 1.1", lambda content: shifted("ego2global")(content["data_list"][1]), "ego2global (rotation) is turned"),
    (
        "mmdet3d 1.1",
        lambda content: content["data_list"][1]["instances"][0].update(bbox_label_3d=7, velocity=[9.0, 9.0]),
        "instances.velocity is",
    ),
    (
        "mmdet3d 1.1",
        lambda content: shifted("cam2img", "images", "CAM_FRONT")(content["data_list"][1]),
        "images.CAM_FRONT.cam2img is 0.5 pixels off",
    ),
    (
        "BEVDepth",
        lambda content: shifted("translation", "cam_infos", "CAM_FRONT", "ego_pose")(content[1]),
        "cam_infos.CAM_FRONT.ego_pose.translation is 0.5 m off",
    ),
    ("BEVDepth", lambda content: shifted("size")(content[1]["ann_infos"][0]), "ann_infos.size is 0.5 m off"),
]


@pytest.mark.parametrize(("form", "change", "said"), FAULTS, ids=[fault[2] for fault in FAULTS])
def test_a_fault_is_named_with_sample_field_and_distance(
    form: str, change: Change, said: str, root: Path, index: Index, tmp_path: Path
) -> None:
    content = copy.deepcopy(FORMS[form](index))
    change(content)
    problems, _ = checked(content, root, tmp_path)
    assert any(said in one for one in problems), problems
    assert len(problems) <= 2
    assert all("\n" not in one for one in problems)


def test_a_fault_in_every_sample_is_a_few_lines(root: Path, index: Index, tmp_path: Path) -> None:
    content = temporal(index)
    for number, entry in enumerate(content["infos"]):
        entry["ego2global_translation"] = [x + number + 1 for x in entry["ego2global_translation"]]
    problems, _ = checked(content, root, tmp_path)
    assert len(problems) == 4
    assert "differs in 3 more samples, the most in sample" in problems[3] and "is 6 m off" in problems[3]


def test_rotations_as_pyquaternion_objects_are_read(
    root: Path, index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("pyquaternion.quaternion")
    made = type("Quaternion", (), {"__module__": "pyquaternion.quaternion"})
    module.Quaternion = made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyquaternion", types.ModuleType("pyquaternion"))
    monkeypatch.setitem(sys.modules, "pyquaternion.quaternion", module)
    content = temporal(index)
    for entry in content["infos"]:
        turned = made()
        turned.q = np.array(entry["ego2global_rotation"])
        entry["ego2global_rotation"] = turned
    assert checked(content, root, tmp_path)[0] == []


def test_the_pickle_of_another_numpy_is_read(root: Path, index: Index, tmp_path: Path) -> None:
    raw = pickle.dumps(temporal(index), 4)
    old_name, new_name = b"numpy.core.multiarray", b"numpy._core.multiarray"
    mine, other = (new_name, old_name) if new_name in raw else (old_name, new_name)
    assert mine in raw
    framed = pickle.dumps(temporal(index), 3).replace(b"c" + mine, b"c" + other)
    path = tmp_path / "infos.pkl"
    path.write_bytes(framed)
    assert [one for one in check_infos(path, root, VERSION) if isinstance(one, Problem)] == []


def test_the_command_checks_infos_beside_the_tables(
    root: Path, index: Index, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nuscenes_infos_temporal_val.pkl"
    content = temporal(index)
    path.write_bytes(pickle.dumps(content))
    words = ["data", "check", "nuscenes", str(root), "--files", "none", "--infos", str(path)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "6 infos" in said and "complete and consistent" in said
    content["infos"][0]["ego2global_translation"][0] += 1
    path.write_bytes(pickle.dumps(content))
    assert main(words) == 2
    assert f"sample {content['infos'][0]['token']}: ego2global_translation is 1 m off" in capsys.readouterr().out


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {}}, "is no file of infos: it holds state_dict"),
        ([], "is no file of infos: a list"),
        ([{"image": {"image_idx": 0}, "calib": {}}], "no file of infos of nuScenes: its entries have image, calib"),
        ({"infos": [{"token": 3}]}, "entry 0: has no token"),
        ({"data_list": [3]}, "entry 0: is no mapping"),
        ("text", "is no file of infos: a str"),
    ],
)
def test_another_file_is_one_line(content: Any, said: str, tmp_path: Path) -> None:
    path = tmp_path / "infos.pkl"
    path.write_bytes(pickle.dumps(content))
    with pytest.raises(DataError) as refused:
        read_infos(path)
    assert said in str(refused.value) and "\n" not in str(refused.value)


def test_malice_and_damage_are_no_danger(root: Path, index: Index, tmp_path: Path) -> None:
    content, mark = temporal(index), tmp_path / "executed"
    content["infos"][0]["sweeps"] = Evil(mark)
    assert checked(content, root, tmp_path)[0] == [] and not mark.exists()
    content["infos"][0]["gt_boxes"] = Evil(mark)
    assert any("gt_boxes holds no rows" in one for one in checked(content, root, tmp_path)[0]) and not mark.exists()
    path = tmp_path / "infos.pkl"
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="cut off"):
        read_infos(path)
    with pytest.raises(DataError, match="no such"):
        read_infos(tmp_path / "absent.pkl")


def test_infos_say_whose_results_are_in_which_order(root: Path, index: Index, box_class: Any, tmp_path: Path) -> None:
    from test_pickled_results import elements

    content = temporal(index)
    val = {**content, "infos": content["infos"][3:][::-1]}
    infos, results = tmp_path / "infos_val.pkl", tmp_path / "results.pkl"
    infos.write_bytes(pickle.dumps(val))
    results.write_bytes(pickle.dumps(elements(index, "0", box_class("0"))))
    found, notes = load_results(results, root, VERSION, "synth_val", infos=infos)
    assert list(found.sample_tokens) == [entry["token"] for entry in content["infos"][3:]]
    assert not any("by time" in note for note in notes)
    new = {**data_list(index)}
    new["data_list"] = new["data_list"][3:][::-1]
    infos.write_bytes(pickle.dumps(new))
    found, _ = load_results(results, root, VERSION, "synth_val", infos=infos)
    assert list(found.sample_tokens) == [entry["token"] for entry in content["infos"][3:]][::-1]
