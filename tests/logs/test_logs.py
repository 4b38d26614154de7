from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from portbev.cli import main
from portbev.errors import PortbevError
from portbev.logs.reading import read_log
from portbev.logs.times import times_of


def lines(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def mmdet(path: Path, *, slow: float = 0.5) -> Path:
    """Two epochs of four steps, logged every second one, as mmdet 2's JsonLoggerHook writes them."""
    rows: list[dict[str, Any]] = [{"env_info": "sys.platform: linux", "seed": 0, "exp_name": "bevformer.py"}]
    for epoch in (1, 2):
        for step in (2, 4):
            time = slow if step == 2 else 0.1 * epoch
            loss = 10.0 / (4 * (epoch - 1) + step)
            rows.append(
                {"mode": "train", "epoch": epoch, "iter": step, "lr": 2e-4, "memory": 9000, "data_time": 0.01}
                | {"loss_cls": loss / 2, "loss": loss, "grad_norm": 3.0, "time": time}
            )
        scores = {"pts_bbox_NuScenes/mAP": 0.1 * epoch, "pts_bbox_NuScenes/NDS": 0.2 * epoch}
        rows.append({"mode": "val", "epoch": epoch, "iter": 81, "lr": 2e-4, **scores})
    return lines(path, rows)


def mmengine(folder: Path) -> Path:
    """The same as mmengine writes it: no mode, and an evaluation's step is the epoch."""
    rows: list[dict[str, Any]] = []
    for epoch in (1, 2):
        for step in (2, 4):
            at = 4 * (epoch - 1) + step
            rows.append({"lr": 2e-4, "loss": 10.0 / at, "time": 0.1, "epoch": epoch, "iter": at, "step": at})
        rows.append({"NuScenes metric/pred_instances_3d_NuScenes/mAP": 0.1 * epoch, "time": 0.3, "step": epoch})
    return lines(folder / "20261130_101010" / "vis_data" / "scalars.json", rows)


def ours(folder: Path) -> Path:
    """A file of steps without a record beside it, as when only that was copied."""
    rows = [
        {"step": step, "epoch": (step - 1) // 4, "samples": step, "losses": {"total": 10 / step, "depth": 5 / step}}
        | {"grad_norm": 1.0, "lr": 1e-3, "step_time": 0.1, "data_time": 0.02}
        for step in range(1, 9)
    ]
    return lines(folder / "scalars.jsonl", rows)


def test_the_three_kinds_hold_the_same_curve(tmp_path: Path) -> None:
    logs = [
        read_log(mmdet(tmp_path / "a.log.json")),
        read_log(mmengine(tmp_path / "b")),
        read_log(ours(tmp_path / "c")),
    ]
    assert [log.source for log in logs] == ["mmdet", "mmengine", "portbev"]
    curves = [dict(zip(log.train["iter"], log.train["loss"], strict=True)) for log in logs]
    for step in (2, 4, 6, 8):
        assert [curve[step] for curve in curves] == pytest.approx([10.0 / step] * 3)
    assert [log.train["epoch"].iloc[-1] for log in logs] == [2.0, 2.0, 2.0]
    assert [log.per_epoch for log in logs] == [4, 4, 4]


def test_evaluations_stand_at_the_end_of_their_epoch(tmp_path: Path) -> None:
    for log in (read_log(mmdet(tmp_path / "a.log.json")), read_log(mmengine(tmp_path / "b"))):
        assert list(log.eval["iter"]) == [4, 8]
        assert list(log.eval[log.find("mAP", "eval")]) == pytest.approx([0.1, 0.2])


def test_folders_are_searched_and_named_by_themselves(tmp_path: Path) -> None:
    mmengine(tmp_path / "work")
    mmdet(tmp_path / "old" / "20200101.log.json")
    assert read_log(tmp_path / "work").name == "work"
    assert read_log(tmp_path / "work" / "20261130_101010" / "vis_data" / "scalars.json").name == "work"
    assert read_log(tmp_path / "old").name == "old"


def test_what_a_resumed_run_wrote_again_counts_once(tmp_path: Path) -> None:
    path = mmdet(tmp_path / "a.log.json")
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"mode": "train", "epoch": 2, "iter": 4, "loss": 0.5, "time": 0.1}) + "\n")
    train = read_log(path).train
    assert list(train["iter"]) == [2, 4, 6, 8]
    assert train["loss"].iloc[-1] == 0.5


def test_runs_by_iterations_keep_their_iterations(tmp_path: Path) -> None:
    rows = [{"mode": "train", "epoch": 1, "iter": step, "loss": 1.0, "time": 0.1} for step in (50, 100, 150)]
    log = read_log(lines(tmp_path / "a.log.json", [*rows, {"mode": "val", "epoch": 1, "iter": 100, "mAP": 0.3}]))
    assert list(log.train["iter"]) == [50, 100, 150]
    assert list(log.eval["iter"]) == [100]


def test_times_leave_out_what_is_no_step(tmp_path: Path) -> None:
    log = read_log(mmdet(tmp_path / "a.log.json", slow=7.0))
    found = times_of(log)
    assert (found.mean, found.slowest, found.fastest, found.left_out) == (pytest.approx(0.15), 2, 1, 2)
    assert times_of(log, outliers=True).mean == pytest.approx((7.0 + 0.1 + 7.0 + 0.2) / 4)


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no line of it is of a step"), ("{}\nnot json\n{}\n", "line 2 is not JSON"), ("[1]\n", "no line of it")],
)
def test_what_is_no_log_is_a_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "x.log.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(PortbevError, match=said):
        read_log(path)


def test_a_last_line_that_a_kill_cut_off_is_left_out(tmp_path: Path) -> None:
    path = mmdet(tmp_path / "a.log.json")
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + '{"mode": "train", "epo', encoding="utf-8")
    assert len(read_log(path).train) == 4


def test_a_name_at_the_end_of_two_is_asked_for(tmp_path: Path) -> None:
    log = read_log(lines(tmp_path / "a.log.json", [{"mode": "val", "epoch": 1, "iter": 1, "x/mAP": 1, "y/mAP": 2}]))
    with pytest.raises(PortbevError, match="x/mAP, y/mAP"):
        log.find("mAP", "eval")


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_curves_of_several_logs_are_drawn(tmp_path: Path, kind: str) -> None:
    logs = [str(mmdet(tmp_path / "a.log.json")), str(ours(tmp_path / "c"))]
    out = tmp_path / f"curves.{kind}"
    legend = ["--legend", "a: loss", "a: lr", "c: loss", "c: lr"]
    assert main(["logs", "plot", *logs, "--keys", "loss", "lr", "--title", "both", *legend, "--out", str(out)]) == 0
    start = {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}[kind]
    assert out.read_bytes().startswith(start)


def test_the_table_has_every_log_and_full_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = [str(mmdet(tmp_path / "a.log.json")), str(mmengine(tmp_path / "b"))]
    csv = tmp_path / "t.csv"
    assert main(["logs", "table", *logs, "--keys", "mAP", "--last", "--csv", str(csv)]) == 0
    assert "0.2" in capsys.readouterr().out
    read = pd.read_csv(csv)
    assert list(read["mAP"]) == pytest.approx([0.2, 0.2])
    assert list(read["log"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["plot", "LOG", "--keys", "los"], "Did you mean 'loss'"),
        (["plot", "LOG", "--keys", "mAP"], "--mode eval"),
        (["plot", "LOG", "--out", "x.gif"], "png"),
        (["plot", "LOG", "--legend", "a", "--legend", "b"], "Give 1"),
        (["table", "LOG", "--mode", "test"], "train or eval"),
        (["time", "NOTHING"], "there is no such log"),
    ],
)
def test_a_wrong_word_is_a_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    log = mmdet(tmp_path / "a.log.json")
    assert main(["logs", *(str(log) if word == "LOG" else word for word in options)]) == 2
    assert said in capsys.readouterr().err
