"""Rows of scalars, and the speed that they make."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from portbev.errors import PortbevError
from portbev.runs.scalars import Row, ScalarsWriter, Speed, read_scalars


def row(step: int, **changes: Any) -> Row:
    values: dict[str, Any] = {"epoch": 0, "samples": 2 * step, "losses": {"total": 0.1 * step}, "grad_norm": 1 / 3}
    return Row(**{"step": step, **values, "lr": 1e-4, "step_time": 0.5 + step, "data_time": 0.1, **changes})


def test_rows_read_back_to_the_bit(tmp_path: Path) -> None:
    writer = ScalarsWriter(tmp_path / "s.jsonl")
    assert writer.begin(0) == []
    for step in (1, 2, 3):
        writer.append(row(step))
    assert read_scalars(tmp_path / "s.jsonl") == [row(1), row(2), row(3)], "a row reaches the file at once"
    writer.close()


def test_what_is_not_finite_is_null_there_and_nan_here(tmp_path: Path) -> None:
    writer = ScalarsWriter(tmp_path / "s.jsonl")
    writer.begin(0)
    writer.append(row(1, grad_norm=math.inf, losses={"total": math.nan}))
    writer.close()
    stored = json.loads((tmp_path / "s.jsonl").read_text())
    assert stored["grad_norm"] is None and stored["losses"] == {"total": None}
    read = read_scalars(tmp_path / "s.jsonl")[0]
    assert math.isnan(read.grad_norm) and math.isnan(read.losses["total"])


def test_a_resumed_file_is_cut_after_its_step(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("".join(row(step).to_json() + "\n" for step in (1, 2, 3)) + '{"step": 4, "los')
    writer = ScalarsWriter(path)
    assert [kept.step for kept in writer.begin(2)] == [1, 2]
    writer.append(row(3, lr=5.0))
    writer.close()
    assert read_scalars(path) == [row(1), row(2), row(3, lr=5.0)]


def test_a_damaged_line_is_named_unless_it_is_the_last(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text(row(1).to_json() + "\n{oops\n" + row(3).to_json() + "\n")
    with pytest.raises(PortbevError, match=r"s\.jsonl: line 2 is not valid JSON"):
        read_scalars(path)
    path.write_text('{"step": 1}\n' + row(2).to_json() + "\n")
    with pytest.raises(PortbevError, match=r"s\.jsonl: row 1 is no row of scalars \(KeyError"):
        read_scalars(path)


def test_of_a_step_written_twice_the_later_row_counts(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_text("".join(r.to_json() + "\n" for r in (row(1), row(2), row(1, lr=9.0))))
    assert read_scalars(path) == [row(1, lr=9.0), row(2)]


@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 50])
def test_speed_is_the_median_after_the_warm_up_whether_kept_or_read_again(steps: int) -> None:
    times = [random.Random(steps * 100 + place).uniform(0.1, 2) for place in range(steps)]
    speed = Speed(8, times[: steps // 2])
    for seconds in times[steps // 2 :]:
        speed.add(seconds)
    middle = median(times[3:] or times) if times else None
    assert speed.step_time == middle
    assert speed.fps == (8 / middle if middle else None)
