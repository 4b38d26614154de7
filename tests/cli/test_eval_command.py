"""``portbev eval``: runs, checkpoints and submissions, and one clear line for every mistake."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console
from test_train_command import CONFIG, assert_one_line

from portbev.cli import main
from portbev.cli.eval import show

SPLIT = ["--version", "v1.0-mini", "--split", "synth_val"]
Result = dict[str, Any]


def checkpoint_of(run: Path) -> Path:
    return run / "checkpoints" / "step_00000001"


def test_a_run_a_checkpoint_folder_and_its_files_score_alike(
    portbev: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    expected = json.loads((trained / "metrics.json").read_text())
    folder = checkpoint_of(trained)
    ours: dict[str, list[object]] = {"run": [trained], "folder": [folder], "file": [folder / "ema.safetensors"]}
    for name, what in ours.items():
        done = portbev("eval", *what, "--backend", "cpu", "--data-root", data, "--out", tmp_path / name)
        assert done.returncode == 0, done.stderr
        assert "mAP" in done.stdout and "car" in done.stdout
        found = json.loads((tmp_path / name / "metrics.json").read_text())
        assert found["nd_score"] == expected["nd_score"] and found["label_aps"] == expected["label_aps"]
        assert (tmp_path / name / "predictions.json").read_bytes() == (trained / "predictions.json").read_bytes()


def test_a_submission_scores_as_the_run_did_and_writes_only_where_told(
    portbev: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    results = tmp_path / "predictions.json"
    shutil.copy(trained / "predictions.json", results)
    done = portbev("eval", results, "--data-root", data, *SPLIT)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.json"]
    done = portbev("eval", results, "--data-root", data, *SPLIT, "--out", tmp_path / "scored")
    scored = json.loads((tmp_path / "scored" / "metrics.json").read_text())
    expected = json.loads((trained / "metrics.json").read_text())
    assert {key: scored[key] for key in ("mean_ap", "nd_score", "tp_errors", "label_aps")} == {
        key: expected[key] for key in ("mean_ap", "nd_score", "tp_errors", "label_aps")
    }


def test_a_submission_is_scored_without_pytorch(data: Path, trained: Path, tmp_path: Path) -> None:
    arguments = ["eval", str(trained / "predictions.json"), "--data-root", str(data), *SPLIT]
    program = f"import sys; from portbev.cli import main; print(main({arguments!r}), 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines()[-1] == "0 False", done.stderr


@pytest.mark.parametrize("columns", [40, 60, 80, 200])
def test_a_narrow_terminal_leaves_out_whole_columns_and_says_which(trained: Path, columns: int) -> None:
    record = json.loads((trained / "metrics.json").read_text())
    text = io.StringIO()
    show(record, Console(file=text, width=columns, force_terminal=True, no_color=True))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", text.getvalue()).splitlines()
    assert max(map(len, lines)) <= columns
    head = next(line for line in lines if line.startswith("class")).split()
    row = next(line for line in lines if line.startswith("construction_vehicle")).split()
    assert len(row) == len(head) and "…" not in "".join(lines)
    told = re.search(r"left out for width: ([^(]+) \(", " ".join(line.strip() for line in lines))
    gone = told[1].split(", ") if told else []
    every = ["class", "AP", "ATE", "ASE", "AOE", "AVE", "AAE", "predicted", "annotated"]
    assert [name for name in every if name not in gone] == head
    assert (len(gone) > 0) == (columns < 83)


def test_empty_predictions_score_zero(portbev: Any, data: Path, trained: Path, tmp_path: Path) -> None:
    content = json.loads((trained / "predictions.json").read_text())
    content["results"] = {token: [] for token in content["results"]}
    (tmp_path / "empty.json").write_text(json.dumps(content))
    done = portbev("eval", tmp_path / "empty.json", "--data-root", data, *SPLIT, "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert metrics["mean_ap"] == 0 and metrics["nd_score"] == 0


def first_box(content: Result) -> Result:
    return next(boxes[0] for boxes in content["results"].values() if boxes)


def drop_sample(content: Result) -> None:
    content["results"].popitem()


def spoil(key: str, value: Any) -> Callable[[Result], None]:
    def change(content: Result) -> None:
        first_box(content)[key] = value

    return change


def drop(key: str) -> Callable[[Result], None]:
    def change(content: Result) -> None:
        del first_box(content)[key]

    return change


# a split of a data set's own may be scored from a submission that covers more: extra tokens are tested in tests/metrics
SUBMISSION_FAULTS: dict[str, Callable[[Result], None]] = {
    "missing token": drop_sample,
    "unknown class": spoil("detection_name", "tank"),
    "NaN centre": spoil("translation", [float("nan"), 0.0, 0.0]),
    "infinite centre": spoil("translation", [float("inf"), 0.0, 0.0]),
    "no score": drop("detection_score"),
    "size of two": spoil("size", [1.0, 2.0]),
}


@pytest.mark.parametrize("fault", SUBMISSION_FAULTS)
def test_a_bad_submission_is_one_line(portbev: Any, data: Path, trained: Path, tmp_path: Path, fault: str) -> None:
    content = json.loads((trained / "predictions.json").read_text())
    if not any(content["results"].values()):
        pytest.fail("the run found no box at all to spoil")
    SUBMISSION_FAULTS[fault](content)
    path = tmp_path / "bad.json"
    path.write_text(json.dumps(content))
    done = portbev("eval", path, "--data-root", data, *SPLIT)
    assert_one_line(done)
    assert "bad.json" in done.stderr or "sample" in done.stderr


def test_a_truncated_submission_is_one_line(portbev: Any, data: Path, trained: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.json"
    path.write_bytes((trained / "predictions.json").read_bytes()[:-100])
    assert_one_line(portbev("eval", path, "--data-root", data, *SPLIT), "cut.json")


@pytest.mark.parametrize("missing", ["--data-root", "--version", "--split"])
def test_a_submission_without_its_data_is_one_line(portbev: Any, data: Path, trained: Path, missing: str) -> None:
    arguments = ["--data-root", str(data), *SPLIT]
    place = arguments.index(missing)
    del arguments[place : place + 2]
    assert_one_line(portbev("eval", trained / "predictions.json", *arguments), missing)


def test_results_that_do_not_show_whose_they_are_need_a_name(
    portbev: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    content = json.loads((trained / "predictions.json").read_text())
    path = tmp_path / "results.json"
    path.write_text(json.dumps({"schema": "somebody's", **content}))
    arguments = ["eval", path, "--data-root", data, *SPLIT]
    assert_one_line(portbev(*arguments), "results.json", "no known results file", "--benchmark nuscenes|radial")
    assert_one_line(portbev(*arguments, "--benchmark", "nuscens"), "unknown benchmark", "Did you mean 'nuscenes'")
    path = path.rename(tmp_path / "results.txt")
    assert_one_line(portbev("eval", path, "--data-root", data, *SPLIT), "results.txt", "--benchmark")
    done = portbev("eval", path, "--data-root", data, *SPLIT, "--benchmark", "nuscenes")
    assert done.returncode == 0, done.stderr
    assert "mAP" in done.stdout


def test_help_names_no_data_set_as_if_it_were_built_in(portbev: Any) -> None:
    for command in ("train", "eval", "viz"):
        text = portbev(command, "--help").stdout.lower()
        assert text and not re.search("nuscenes|radial|v1.0|synthetic:", text), command


def test_a_checkpoint_without_configuration_is_one_line(portbev: Any, trained: Path, tmp_path: Path) -> None:
    lone = tmp_path / "weights.safetensors"
    shutil.copy(checkpoint_of(trained) / "model.safetensors", lone)
    assert_one_line(portbev("eval", lone), "weights.safetensors", "--config")


@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "meta.json", "ema.safetensors"])
def test_a_truncated_checkpoint_is_one_line(portbev: Any, data: Path, trained: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "step_00000001"
    shutil.copytree(checkpoint_of(trained), folder)
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[: len(content) // 2])
    assert_one_line(portbev("eval", folder, "--config", CONFIG, "--backend", "cpu", "--data-root", data), name)


class Foreign:
    """Unpickling this from outside would need code; it is read as a stand-in."""


WITHOUT_WEIGHTS = {
    "text": "is a text file",
    "pickle": "holds no weights, but a mapping of state_dict, hyper_parameters",
    "other model": "but none of the model's",
    "other safetensors": "but none of the model's",
    "list": "holds no weights, but a list of 3",
}


@pytest.mark.parametrize("kind", WITHOUT_WEIGHTS)
def test_a_foreign_checkpoint_is_one_line(portbev: Any, data: Path, tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("foreign.safetensors" if kind == "other safetensors" else "foreign.pth")
    if kind == "text":
        path.write_text("these are no weights\n" * 50)
    elif kind == "pickle":
        torch.save({"state_dict": {}, "hyper_parameters": Foreign()}, path)
    elif kind == "other model":
        torch.save({"state_dict": {"model.fc.weight": torch.zeros(3, 3)}}, path)
    elif kind == "list":
        torch.save([1, 2, 3], path)
    else:
        from safetensors.torch import save_file

        save_file({"fc.weight": torch.zeros(2)}, path)
    done = portbev("eval", path, "--config", CONFIG, "--backend", "cpu", "--data-root", data)
    assert_one_line(done, path.name, WITHOUT_WEIGHTS[kind])


def test_an_official_checkpoint_by_its_key_names_scores_like_ours(
    portbev: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file

    state = load_file(checkpoint_of(trained) / "ema.safetensors")
    torch.save(
        {"epoch": 1, "global_step": 1, "state_dict": {f"model.{k}": v for k, v in state.items()}}, tmp_path / "0.pth"
    )
    done = portbev(
        "eval",
        tmp_path / "0.pth",
        "--config",
        CONFIG,
        "--backend",
        "cpu",
        "--data-root",
        data,
        "--out",
        tmp_path / "out",
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out" / "predictions.json").read_bytes() == (trained / "predictions.json").read_bytes()


def test_nothing_there_is_one_line(portbev: Any) -> None:
    assert_one_line(portbev("eval", "/nowhere/run"), "/nowhere/run")
    assert_one_line(portbev("eval", "/nowhere/predictions.json"), "/nowhere/predictions.json")


def test_a_run_scored_in_another_way_keeps_its_own_results(
    portbev: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = {name: (run / name).read_bytes() for name in ("metrics.json", "predictions.json")}
    done = portbev("eval", run, "--backend", "npu", "--emulate", "--split", "synth_train", "--data-root", data)
    assert done.returncode == 0, done.stderr
    assert {name: (run / name).read_bytes() for name in before} == before
    assert (run / "eval_npu_v1.0-mini_synth_train" / "metrics.json").is_file()


def test_unknown_checkpoint_of_a_run_is_one_line(portbev: Any, trained: Path) -> None:
    assert_one_line(portbev("eval", trained, "--checkpoint", "7"), "no checkpoint '7'", "latest")


@pytest.fixture
def here(capsys: pytest.CaptureFixture[str]) -> Any:
    """The command in this process, which saves the start of another."""

    def run(*words: object) -> subprocess.CompletedProcess[str]:
        status = main([str(word) for word in words])
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, said.out, said.err)

    return run


def results_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("metrics.json", "predictions.json", "run.json")}


def test_a_run_is_scored_again_on_the_data_that_it_was_made_on_and_keeps_its_results(
    here: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    """The configuration names another root than ``--data-root`` did in training."""
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    before = results_of(run)
    done = here("eval", run, "--backend", "cpu")
    assert done.returncode == 0, done.stderr
    assert results_of(run) == before and "writing to" in done.stdout
    again, own = json.loads((run / "eval_again" / "metrics.json").read_text()), json.loads(before["metrics.json"])
    assert again["data"]["root"] == own["data"]["root"] == str(data.resolve())
    assert {key: again[key] for key in ("mean_ap", "nd_score", "label_aps", "by_distance", "data", "name")} == {
        key: own[key] for key in ("mean_ap", "nd_score", "label_aps", "by_distance", "data", "name")
    }
    assert (run / "eval_again" / "predictions.json").read_bytes() == before["predictions.json"]
    assert again["checkpoint"] == str(checkpoint_of(run).resolve()) and own["checkpoint"] is None
    other = tmp_path / "elsewhere"
    shutil.copytree(data, other)
    done = here("eval", run, "--backend", "cpu", "--data-root", other, "--range", "0-30")
    assert done.returncode == 0, done.stderr
    near = json.loads((run / "eval_on_elsewhere_0-30m" / "metrics.json").read_text())
    assert near["within"] == [0, 30] and results_of(run) == before
    assert sum(near["boxes"]["ground_truth"].values()) == sum(
        ring["annotated"] for ring in own["by_distance"] if ring["to"] <= 30
    )


def test_a_split_without_annotations_is_predicted_drawn_and_not_scored(
    here: Any, data: Path, trained: Path, tmp_path: Path
) -> None:
    root, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(data, root)
    shutil.move(root / "v1.0-mini", root / "v1.0-blind")
    for table in ("sample_annotation", "instance"):
        (root / "v1.0-blind" / f"{table}.json").unlink()
    blind = ["--data-root", root, "--version", "v1.0-blind", "--split", "synth_val"]
    done = here("eval", trained, "--backend", "cpu", *blind, "--out", out)
    assert done.returncode == 0, done.stderr
    assert "2 samples of synth_val (v1.0-blind): not scored" in done.stdout
    record = json.loads((out / "metrics.json").read_text())
    assert record["scored"] is False and "mean_ap" not in record and "has no annotations" in record["notes"][0]
    assert len(json.loads((out / "predictions.json").read_text())["results"]) == 2
    drawn = here("viz", out, "--samples", "1")
    assert drawn.returncode == 0 and Path(drawn.stdout.strip()).parent == out / "pictures", drawn.stderr
    assert_one_line(here("eval", checkpoint_of(trained), "--backend", "cpu", *blind), "nothing to score", "--out")
    assert_one_line(here("eval", trained, "--backend", "cpu", *blind, "--range", "0-30"), "Leave out --range")
    assert_one_line(here("eval", out / "predictions.json", *blind), "sample_annotation.json")


def test_degenerate_boxes_do_not_sink_the_evaluation(here: Any, data: Path, trained: Path, tmp_path: Path) -> None:
    """Sizes that overflow to infinity and such that underflow to 0, of all boxes of one task."""
    from safetensors.torch import load_file, save_file

    state = load_file(checkpoint_of(trained) / "model.safetensors")
    key = next(key for key in state if ".dim.1.bias" in key)
    for value, said in ((100.0, "that are not finite"), (-200.0, "without extent")):
        state[key][1] = value
        save_file(state, tmp_path / "weights.safetensors")
        out = tmp_path / str(value)
        arguments = ["--config", CONFIG, "--backend", "cpu", "--data-root", data, "--out", out]
        done = here("eval", tmp_path / "weights.safetensors", *arguments)
        assert done.returncode == 0 and done.stderr == "" and "Warning" not in done.stdout, done.stderr
        notes = json.loads((out / "metrics.json").read_text())["notes"]
        assert any(re.fullmatch(rf"[1-9]\d* predicted boxes {said} are left out, in 2 samples", note) for note in notes)


IDLE = {
    "results": [
        ["--set", "nonsense.key=1"],
        ["--config", CONFIG],
        ["--checkpoint", "best"],
        ["--backend", "cpu"],
        ["--kernel", "all=reference"],
        ["--emulate"],
    ],
    "run": [["--benchmark", "nuscenes"]],
    "checkpoint": [["--checkpoint", "best"]],
}


@pytest.mark.parametrize("kind", IDLE)
def test_options_that_would_do_nothing_are_refused(
    trained: Path, data: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    what = {"results": trained / "predictions.json", "run": trained, "checkpoint": checkpoint_of(trained)}[kind]
    for words in IDLE[kind]:
        assert main(["eval", str(what), "--data-root", str(data), *words]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"{words[0]} does nothing for a" in said, said
    assert main(["eval", str(what), "--range", "30-10"]) == 2
    assert "--range: 30-10 holds nothing. The nearer distance comes first: 10-30" in capsys.readouterr().err


def test_a_run_directory_is_no_place_for_other_results(
    trained: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = results_of(trained)
    words = ["--data-root", str(data), *SPLIT, "--out", str(trained)]
    assert main(["eval", str(trained / "predictions.json"), *words]) == 2
    assert "is a run directory, whose results are its own. Choose another folder with --out" in capsys.readouterr().err
    assert results_of(trained) == before


def test_the_table_of_distances_and_of_own_classes_is_shown(trained: Path) -> None:
    record = json.loads((trained / "metrics.json").read_text())
    record["mean_ap_own_classes"] = 0.125
    text = io.StringIO()
    show(record, Console(file=text, width=120))
    assert "10-20 m" in text.getvalue() and "mAP over the model's own classes 0.1250" in text.getvalue()
