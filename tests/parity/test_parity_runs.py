"""Reading run directories: labels, damage, schema."""

from __future__ import annotations

import json

import pytest
from handmade import NPU

from portbev.errors import PortbevError
from portbev.parity.runs import load_runs


def test_label_says_emulated(make_run):
    plain, emulated = load_runs([make_run("cpu"), make_run("npu", meta=NPU)])
    assert (plain.label, emulated.label) == ("cpu", "npu (emulated)")


def test_equal_directory_names_get_their_parents(make_run):
    runs = load_runs([make_run("gpu/seed0"), make_run("npu/seed0"), make_run("cpu")])
    assert [run.label for run in runs] == ["gpu/seed0", "npu/seed0", "cpu"]


def test_same_run_twice_is_refused(make_run):
    folder = make_run("cpu")
    with pytest.raises(PortbevError, match="named twice"):
        load_runs([folder, folder / ".." / "cpu"])


def test_truncated_run_json_names_file_and_place(make_run):
    folder = make_run("cpu")
    text = (folder / "run.json").read_text()
    (folder / "run.json").write_text(text[: len(text) // 2])
    with pytest.raises(PortbevError, match=r"run\.json: .*line 1 column \d+"):
        load_runs([folder])


def test_foreign_schema_is_refused(make_run):
    folder = make_run("cpu", meta={"schema": "portbev.run/1"})
    with pytest.raises(PortbevError, match=r"schema is 'portbev.run/1', this version reads 'portbev.run/2'"):
        load_runs([folder])


@pytest.mark.parametrize("section", ["backend", "kernels", "data", "config"])
def test_missing_section_is_named(make_run, section):
    folder = make_run("cpu", meta={section: None})
    with pytest.raises(PortbevError, match=section):
        load_runs([folder])


def test_cut_off_last_line_is_left_out_and_said(make_run):
    folder = make_run("cpu", steps=59)
    with open(folder / "scalars.jsonl", "a") as file:
        file.write('{"step": 60, "los')
    run = load_runs([folder])[0]
    assert [row.step for row in run.scalars] == list(range(1, 60))
    assert run.oddities == ["scalars.jsonl has 59 rows, the run records 60 steps"]


def test_damaged_line_in_the_middle_is_an_error_with_its_number(make_run):
    folder = make_run("cpu", steps=5)
    lines = (folder / "scalars.jsonl").read_text().splitlines()
    lines[2] = lines[2][:10]
    (folder / "scalars.jsonl").write_text("\n".join(lines))
    with pytest.raises(PortbevError, match="line 3"):
        load_runs([folder])


def test_row_without_losses_is_an_error_with_its_number(make_run):
    folder = make_run("cpu", steps=5)
    lines = (folder / "scalars.jsonl").read_text().splitlines()
    lines[2] = '{"step": 3}'
    (folder / "scalars.jsonl").write_text("\n".join(lines))
    with pytest.raises(PortbevError, match="row 3"):
        load_runs([folder])


def test_foreign_metrics_are_refused(make_run):
    folder = make_run("cpu", metrics={"schema": "portbev.metrics/9"})
    with pytest.raises(PortbevError, match=r"metrics\.json: schema is 'portbev.metrics/9'"):
        load_runs([folder])


def test_step_written_again_after_a_resume_counts_once(make_run):
    folder = make_run("cpu", steps=3)
    row = json.loads((folder / "scalars.jsonl").read_text().splitlines()[1])
    again = json.dumps({**row, "losses": {"total": 7.0}})
    with open(folder / "scalars.jsonl", "a") as file:
        file.write(again + "\n")
    rows = load_runs([folder])[0].scalars
    assert [(row.step, row.losses["total"]) for row in rows][1] == (2, 7.0)
    assert len(rows) == 3
