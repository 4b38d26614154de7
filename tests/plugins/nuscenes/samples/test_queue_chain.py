"""Missing frames, samples out of order, scenes of one frame: handled and said, or refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portbev.data import build_dataset
from portbev.errors import DataError
from portbev_nuscenes.check import check_root
from portbev_nuscenes.config import NuscenesQueueData
from portbev_nuscenes.samples.queue import QueueDataset

VERSION = "v1.0-mini"
Edit = Callable[[Path, str, Callable[[list[dict[str, Any]]], Any]], None]


def dataset(root: Path, part: Any = "eval") -> QueueDataset:
    section = NuscenesQueueData(version=VERSION, train_split="synth_train", eval_split="synth_train", can_bus="poses")
    return build_dataset(section, root, part, seed=0)  # type: ignore[return-value]


def ordered(root: Path) -> list[dict[str, Any]]:
    return sorted(json.loads((root / VERSION / "sample.json").read_text()), key=lambda row: row["timestamp"])


def drop(root: Path, edit: Edit, *tokens: str, relink: bool = False) -> None:
    """Take samples out of all tables; ``relink`` joins those before and after them."""

    def without(rows: list[dict[str, Any]]) -> None:
        gone = {row["token"]: row for row in rows if row["token"] in tokens}
        rows[:] = [row for row in rows if row["token"] not in gone]
        for row in rows:
            if relink:
                row["prev"] = gone.get(row["prev"], {"prev": row["prev"]})["prev"]
                row["next"] = gone.get(row["next"], {"next": row["next"]})["next"]

    edit(root, "sample", without)
    for table in ("sample_data", "sample_annotation"):

        def cut(rows: list[dict[str, Any]]) -> None:
            gone = {row["token"] for row in rows if row["sample_token"] in tokens}
            rows[:] = [row for row in rows if row["token"] not in gone]
            for row in rows:
                for link in ("prev", "next"):
                    row[link] = "" if row[link] in gone else row[link]

        edit(root, table, cut)


def test_whole_scenes_leave_no_note(root: Path) -> None:
    assert [note for note in dataset(root).notes if "CAN bus" not in note] == []


@pytest.mark.parametrize("relink", [True, False])
def test_history_goes_on_over_a_missing_frame_with_the_true_motion(
    root: Path, copy: Path, edit: Edit, relink: bool
) -> None:
    rows = ordered(root)
    drop(copy, edit, rows[1]["token"], relink=relink)
    whole, found = dataset(root), dataset(copy)
    assert found.streams() == [[0, 1], [2, 3, 4]]
    sample = found.sample(1, 0)
    assert sample["previous"] == rows[0]["token"] and sample["continues"].tolist() == [True]
    np.testing.assert_array_equal(sample["can_bus"][0, :3], whole._history([0, 2])[1][1, :3])
    told = [note for note in found.notes if "frames may be missing; history goes on over the gap" in note]
    assert len(told) == (1 if relink else 2)
    assert all(rows[2]["token"] in note for note in told)
    assert any("more than 0.75 s" in note for note in told)


def test_a_scene_of_one_frame_has_no_history(root: Path, copy: Path, edit: Edit) -> None:
    rows = ordered(root)
    drop(copy, edit, rows[3]["token"], rows[5]["token"], relink=True)
    found = dataset(copy)
    assert found.streams() == [[0, 1, 2], [3]]
    assert "1 scenes have a single sample: it has no history" in found.notes
    sample = found.sample(3, 0)
    assert (sample["previous"], sample["continues"].tolist()) == ("", [False])
    assert not sample["can_bus"][0, [0, 1, 2, 17]].any() and not sample["can_bus"][0, 10:16].any()
    queue = dataset(copy, "train").sample(3, 0)
    assert queue["continues"][-1] == False  # noqa: E712 - a NumPy bool
    assert queue["images"].shape[0] == 3


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda rows: rows[2].update(timestamp=rows[1]["timestamp"]), "has the time of another sample"),
        (lambda rows: rows[1].update(timestamp=rows[2]["timestamp"] + 100_000), "linked behind .* not earlier"),
        (lambda rows: rows[4].update(prev=rows[2]["token"]), "linked behind a sample of another scene"),
    ],
)
def test_an_order_that_is_unknown_is_refused(copy: Path, edit: Edit, change: Any, what: str) -> None:
    edit(copy, "sample", lambda rows: change(sorted(rows, key=lambda row: row["timestamp"])))
    with pytest.raises(DataError, match=what) as caught:
        dataset(copy)
    assert "sample.json, scene-s000" in caught.value.where and "\n" not in str(caught.value)
    assert any("sample.json" in problem.where for problem in check_root(copy, VERSION, files="none"))


def test_the_check_names_samples_out_of_order_and_damaged_can_bus_files(copy: Path, edit: Edit) -> None:
    rows = ordered(copy)
    edit(copy, "sample", lambda every: next(r for r in every if r == rows[0]).update(timestamp=rows[1]["timestamp"]))
    path = copy / "can_bus" / "scene-s0002_pose.json"
    path.write_bytes(path.read_bytes()[:500])
    (copy / "can_bus" / "scene-s0001_pose.json").unlink()  # a scene without messages is no problem
    found = [str(problem) for problem in check_root(copy, VERSION, files="none")]
    assert len(found) == 3
    pair = [rows[0]["token"], rows[1]["token"]]
    for what in ("has the time of another sample of its scene", "is linked behind a sample that is not earlier"):
        assert any(f"sample {token} {what}" in line for line in found for token in pair), what
    assert any(str(path) in line and "damaged or truncated JSON" in line for line in found)
