"""What should be evaluated is told by its content; nothing of it is executed."""

from __future__ import annotations

import gzip
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from portbev.errors import PortbevError
from portbev.evaluate.recognise import recognise, refuse_other_than_results


class Evil:
    """Its unpickling would leave a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("executed"),)


def dumped(value: object, protocol: int = 4) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(pickle.dumps(value, protocol)) and None


def text(content: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(content) and None


def zipped(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("results_nusc.json", "{}")


MMDET = [{"pts_bbox": {"scores_3d": [0.1], "boxes_3d": Evil()}}]
CASES: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "results of a test script": ("r.pkl", dumped(MMDET), "is a pickle of results .*pts_bbox.*format_results"),
    "the same, older pickle": ("r.pkl", dumped(MMDET, 2), "is a pickle of results .*pts_bbox"),
    "a list of arrays": ("r.pkl", dumped([[1.0, 2.0]]), "is a pickle of results"),
    "named as a checkpoint": ("r.pth", dumped(MMDET), "is a pickle of results"),
    "an empty file": ("r.json", text(""), "the file is empty"),
    "an archive": ("r.zip", zipped, "is a zip archive.*results_nusc.json"),
    "a compressed file": ("r.json.gz", lambda p: p.write_bytes(gzip.compress(b"{}")) and None, "compressed with gzip"),
    "detections of a picture": (
        "r.json",
        text(json.dumps([{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 0.5}])),
        "a list of 1 results with image_id, category_id, bbox, score.*format_results",
    ),
    "annotations of pictures": (
        "r.json",
        text('{"images": [], "annotations": []}'),
        "it holds 'images', 'annotations'",
    ),
    "one sample's boxes": ("r.json", text('{"bboxes_3d": [], "scores_3d": []}'), "it holds 'bboxes_3d', 'scores_3d'"),
    "metrics": ("metrics.json", text('{"schema": "portbev.metrics/1"}'), "the metrics.*Name .*predictions.json"),
    "a record": ("run.json", text('{"schema": "portbev.run/2"}'), "the record of a run.*portbev eval"),
    "a configuration": ("c.yaml", text("name: x\n"), "is a configuration.*--config"),
    "UTF-16": ("r.json", lambda p: p.write_text('{"meta": {}}', encoding="utf-16") and None, "byte order mark"),
}


@pytest.mark.parametrize("case", CASES)
def test_other_files_are_named_for_what_they_are(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name, write, message = CASES[case]
    write(tmp_path / name)
    with pytest.raises(PortbevError, match=message) as caught:
        recognise(tmp_path / name)
    assert "trust-pickle" not in str(caught.value) and "\n" not in str(caught.value)
    assert not (tmp_path / "executed").exists()


def test_checkpoints_and_results_are_told_apart(tmp_path: Path) -> None:
    torch.save({"state_dict": {"weight": torch.zeros(2)}}, tmp_path / "new.pth")
    torch.save({"state_dict": {}}, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"state_dict": {"weight": [0.0]}}))
    for name in ("new.pth", "old.pth", "plain.pkl"):
        assert recognise(tmp_path / name) == "checkpoint"
        with pytest.raises(PortbevError, match=r"is a checkpoint, not a file of results.*--config"):
            refuse_other_than_results(tmp_path / name)
    (tmp_path / "r.json").write_text('{"meta": {}, "results": {}}')
    assert recognise(tmp_path / "r.json") == "results"
    (tmp_path / "late.json").write_text('{"results": {}, "meta": {}}')
    assert recognise(tmp_path / "late.json") == "results"


def test_folders_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(PortbevError, match=r"neither a run nor a checkpoint.*Name a run directory"):
        recognise(tmp_path)
    (tmp_path / "results_nusc.json").write_text("{}")
    with pytest.raises(PortbevError, match=r"name the file: .*results_nusc\.json"):
        recognise(tmp_path)
    with pytest.raises(PortbevError, match=r"is a folder.*results_nusc\.json"):
        refuse_other_than_results(tmp_path)
    (tmp_path / "predictions.json").write_text("{}")
    with pytest.raises(PortbevError, match=r"holds an evaluation.*portbev viz"):
        recognise(tmp_path)
    (tmp_path / "meta.json").write_text("{}")
    assert recognise(tmp_path) == "checkpoint"
    (tmp_path / "run.json").write_text("{}")
    assert recognise(tmp_path) == "run"
    with pytest.raises(PortbevError, match="no such run, checkpoint or file of results"):
        recognise(tmp_path / "none")
