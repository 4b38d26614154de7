"""``portbev data check radial --infos``: EchoFusion's infos beside the recordings and the converted files."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portbev.cli import main
from portbev.errors import DataError
from portbev_radial.converted.check_infos import check_infos
from portbev_radial.converted.convert import convert

SPLITS = ("train", "val", "test")


@pytest.fixture(scope="module")
def converted(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("infos") / "out"
    return convert(recordings, out, parts=("images", "labels_x", "infos"), workers=1).out


@pytest.fixture(scope="module")
def infos(converted: Path) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = pickle.loads((converted / "radialx_infos_train.pkl").read_bytes())
    return content


@pytest.mark.parametrize("split", [*SPLITS, "trainval"])
@pytest.mark.parametrize("raw", [True, False], ids=["raw", "converted"])
def test_infos_of_these_recordings_are_whole(raw: bool, split: str, recordings: Path, converted: Path) -> None:
    (summary,) = check_infos(converted / f"radialx_infos_{split}.pkl", recordings if raw else converted)
    assert ("split " + split if split in SPLITS else "train and val") in summary


def located(entry: dict[str, Any]) -> Any:
    boxes = entry["annos"]
    boxes["location"] = np.zeros((len(boxes["location"]) + 1, 3))


FAULTS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (lambda one: one["calib"].update(tvec=np.asarray(one["calib"]["tvec"]) + 0.5), "calib.tvec is 0.5 off"),
    (lambda one: one["calib"].pop("rvec"), "calib.rvec is missing"),
    (lambda one: one["image"].update(image_path="images/999999.png"), "image.image_path is 'images/999999.png'"),
    (lambda one: one["image"].update(image_idx=12345), "1 of 3 samples are not in"),
    (located, "annos.location has the shape"),
]


@pytest.mark.parametrize(("change", "said"), FAULTS, ids=[said for _, said in FAULTS])
def test_a_fault_is_named_with_sample_and_field(
    change: Callable[[dict[str, Any]], Any], said: str, recordings: Path, infos: list[dict[str, Any]], tmp_path: Path
) -> None:
    content = copy.deepcopy(infos)
    change(content[1])
    path = tmp_path / "radialx_infos_train.pkl"
    path.write_bytes(pickle.dumps(content, 2))
    *lines, _ = check_infos(path, recordings)
    assert len(lines) == 1 and said.replace("of 3", f"of {len(content)}") in lines[0]


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.mark}",)


def test_other_files_and_malice_are_one_line(recordings: Path, infos: list[dict[str, Any]], tmp_path: Path) -> None:
    path, mark = tmp_path / "x.pkl", tmp_path / "executed"
    for content in ({"infos": []}, [], [{"token": "a"}], [Evil(mark)]):
        path.write_bytes(pickle.dumps(content))
        with pytest.raises(DataError) as refused:
            list(check_infos(path, recordings))
        assert "\n" not in str(refused.value) and not mark.exists()


def test_the_command_compares_infos(converted: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "check", "radial", str(converted), "--radar", "none", "--infos"]
    assert main([*words, str(converted / "radialx_infos_val.pkl")]) == 0
    assert "the samples of split val" in capsys.readouterr().out
    path = converted / "radialx_infos_val.pkl"
    content = pickle.loads(path.read_bytes())
    content[0]["calib"]["cam_mat"] = np.eye(3)
    other = converted / "other.pkl"
    other.write_bytes(pickle.dumps(content))
    assert main([*words, str(other)]) == 2
    assert "calib.cam_mat" in capsys.readouterr().out
