"""Where an evaluation is written: nothing finished is replaced by something else."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from portbev.config import load_config
from portbev.errors import PortbevError
from portbev.evaluate.folders import claim_folder, folder_of_run, free_folder
from portbev.runs import Run, load_run
from portbev.testing.runs import make_record, write_run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A finished run on the version 1 in the folder ``data``, with results."""
    data = {"root": str(tmp_path / "data"), "eval_split": "val"}
    folder = write_run(tmp_path / "run", make_record(load_config("bevdepth/tiny_test"), data=data))
    for name in ("metrics.json", "predictions.json"):
        (folder / name).write_text("{}")
    return load_run(folder)


def folder(run: Run, root: str = "data", digest: str = "e" * 64, **changes: Any) -> str:
    """Name of the folder of an evaluation that differs from the run's own in this."""
    data = {"root": run.path.parent / root, "version": "1", "split": "val", "digest": lambda: digest}
    data |= {key: changes.pop(key) for key in ("version", "split") if key in changes}
    backend = SimpleNamespace(name="npu", label=changes.pop("label", "cpu"))
    rest: dict[str, Any] = {"checkpoint": "latest", "within": None, "changed": False, **changes}
    chosen = folder_of_run(run, run.config, cast("Any", SimpleNamespace(**data)), backend=cast("Any", backend), **rest)
    return str(chosen.relative_to(run.path))


def test_each_difference_has_a_folder_of_its_own(run: Run) -> None:
    assert folder(run) == "eval_again"
    assert folder(run, root="mine") == "eval_on_mine"
    assert folder(run, digest="f" * 64) == "eval_other_data"
    assert folder(run, split="train") == "eval_1_train"
    assert folder(run, version="2") == "eval_2_val"
    assert folder(run, label="npu (emulated)") == "eval_npu"
    assert folder(run, checkpoint="best") == "eval_best"
    assert folder(run, within=(0.0, 30.0)) == "eval_0-30m"
    assert folder(run, changed=True) == "eval_changed"
    assert folder(run, root="a b", changed=True, within=(30.0, float("inf"))) == "eval_on_a-b_30m-_changed"


def test_what_is_there_already_stays(run: Run) -> None:
    for expected in ("eval_changed", "eval_changed_2", "eval_changed_3"):
        name = folder(run, changed=True)
        assert name == expected
        (run.path / name).mkdir()
        (run.path / name / "metrics.json").write_text("{}")
    (run.path / "eval_npu").mkdir()  # nothing was written there
    assert free_folder(run.path / "eval_npu") == run.path / "eval_npu"


def test_a_finished_run_without_results_gets_its_own(run: Run) -> None:
    for name in ("metrics.json", "predictions.json"):
        (run.path / name).unlink()
    assert folder(run) == "."
    assert folder(run, root="mine") == "eval_on_mine"
    running = Run(run.path, run.record.model_copy(update={"status": "running"}))
    assert folder(running) == "eval_again"


def test_a_named_folder_may_hold_the_same_evaluation_only(tmp_path: Path, run: Run) -> None:
    same = {"checkpoint": "/a", "within": None}
    claim_folder(tmp_path / "new", same)
    assert (tmp_path / "new").is_dir()
    (tmp_path / "new" / "metrics.json").write_text(json.dumps({**same, "mean_ap": 0.5}))
    claim_folder(tmp_path / "new", same)
    with pytest.raises(PortbevError, match=r"new: holds another evaluation \(its checkpoint and within differ"):
        claim_folder(tmp_path / "new", {"checkpoint": "/b", "within": [0, 30]})
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "predictions.json").write_text("{}")
    with pytest.raises(PortbevError, match=r"other: holds a predictions\.json.*portbev eval .*predictions\.json"):
        claim_folder(tmp_path / "other", same)
    with pytest.raises(PortbevError, match="is a run directory"):
        claim_folder(run.path, same)
