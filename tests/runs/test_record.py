"""``run.json``: written and read back, and one line for whatever is wrong with it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from portbev.config import Meaning, load_config
from portbev.errors import PortbevError
from portbev.runs import load_run
from portbev.runs.ledger import LedgerPage, PassedOver, merge_ledgers
from portbev.runs.record import Evaluation, RunRecord, read_record, write_record
from portbev.testing.runs import make_record, write_run


def record(**changes: Any) -> dict[str, Any]:
    return make_record(load_config("bevdepth/tiny_test", ["compute.threads=3"]), **changes)


def test_a_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    written = RunRecord.model_validate(record(warnings=["w"]))
    written.evaluations = [
        Evaluation(step=3, epoch=1, weights="ema", samples=2, stride=1, figures={"a": 0.1, "b": None})
    ]
    write_record(written, tmp_path / "run.json")
    assert json.loads((tmp_path / "run.json").read_text())["schema"] == "portbev.run/2"
    assert read_record(tmp_path / "run.json") == written


def test_what_is_not_finite_is_null_in_the_file(tmp_path: Path) -> None:
    written = RunRecord.model_validate(record())
    written.training.fps = float("inf")
    write_record(written, tmp_path / "run.json")
    assert read_record(tmp_path / "run.json").training.fps is None


def test_the_meaning_of_keys_is_in_the_record(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, record()))
    assert run.record.meanings["compute.threads"] is Meaning.HOW
    assert run.record.meanings["train.max_steps"] is Meaning.WATCH
    assert run.record.meanings["data.root"] is Meaning.NEITHER
    assert "optimizer.lr" not in run.record.meanings
    assert run.config.compute.threads == 3


def test_a_field_of_a_later_version_is_left_out(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, record(later={"a": 1}, backend={"driver": "9"})))
    assert run.record.backend.name == "cpu"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"backend": None}, "backend"),
        ({"status": "asleep"}, "status"),
        ({"data": {"train_samples": "many"}}, "data.train_samples"),
        ({"kernels": {"fft": {"forward": {"torch": "often"}}}}, "kernels.fft.forward.torch"),
        ({"meanings": {"train.seed": "why"}}, "meanings.train.seed"),
    ],
)
def test_a_damaged_field_is_named_in_one_line(tmp_path: Path, change: dict[str, Any], field: str) -> None:
    with pytest.raises(PortbevError) as caught:
        load_run(write_run(tmp_path, record(**change)))
    line = str(caught.value)
    assert line.startswith(f"{tmp_path / 'run.json'}: is damaged: {field}: ") and "\n" not in line and "Copy" in line


def test_a_missing_field_is_named(tmp_path: Path) -> None:
    content = record()
    del content["config_digest"]
    with pytest.raises(PortbevError, match="config_digest: Field required"):
        load_run(write_run(tmp_path, content))


@pytest.mark.parametrize("text", ["", "[1]", '{"schema": "portbev.run/2", '])
def test_a_file_that_is_no_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(PortbevError, match=r"run\.json: (cannot be read|holds no JSON object)"):
        load_run(tmp_path)


def test_metrics_keep_the_benchmarks_own_figures(tmp_path: Path) -> None:
    run = load_run(write_run(tmp_path, record()))
    assert run.metrics is None
    content = {"schema": "portbev.metrics/1", "benchmark": "b", "samples": 2, "split": "val", "own": {"x": 1.5}}
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    assert run.metrics is not None and run.metrics.content == content and run.metrics.step is None
    (tmp_path / "metrics.json").write_text(json.dumps({**content, "samples": None}))
    with pytest.raises(PortbevError, match=r"metrics\.json: is damaged: samples"):
        _ = run.metrics


def test_ledgers_add_up_and_neither_is_changed() -> None:
    def passed(times: int, reason: str = "r") -> PassedOver:
        return PassedOver(provider="p", reason=reason, times=times)

    first = {"fft": LedgerPage(forward={"torch": 2}, passed_over=[passed(1)])}
    second = {
        "fft": LedgerPage(forward={"torch": 3, "dft": 1}, backward={"dft": 1}, passed_over=[passed(4), passed(1, "s")]),
        "nms": LedgerPage(forward={"reference": 1}, settings={"nms": {"num_warps": 4}}),
    }
    merged = merge_ledgers(first, second)
    assert merged["fft"].forward == {"torch": 5, "dft": 1} and merged["fft"].backward == {"dft": 1}
    assert merged["fft"].passed_over == [passed(5), passed(1, "s")]
    assert merged["nms"].forward == {"reference": 1} and merged["nms"].settings["nms"] == {"num_warps": 4}
    assert first["fft"].forward == {"torch": 2} and second["fft"].passed_over[0].times == 4
