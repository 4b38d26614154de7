"""Lines, tables and progress: as wide as the terminal, whole where there is none."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from portbev import terminal
from portbev.progress import Reporter
from portbev.runs.scalars import Row

WIDTHS = (40, 60, 80, 200)
TERMS = {"heatmap": 453.4618, "box": 12.92976, "depth": 11.62459}


def console(width: int, *, is_terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=is_terminal, no_color=True, highlight=False)


def printed(on: Console) -> list[str]:
    assert isinstance(on.file, io.StringIO)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", on.file.getvalue()).splitlines()


@given(
    words=st.lists(st.text("abcdefg1,.:/", min_size=1, max_size=30), min_size=1, max_size=30), width=st.integers(20, 90)
)
def test_folding_keeps_every_word_whole_and_in_order(words: list[str], width: int) -> None:
    on = console(width)
    terminal.say(on, " ".join(words))
    assert " ".join(line.strip() for line in printed(on)).split() == words
    for line in printed(on):
        assert len(line) <= width or len(line.split()) <= 2, "one word, or a word and its number, may be wider"


def test_without_a_terminal_a_line_stays_a_line() -> None:
    on = console(20, is_terminal=False)
    terminal.say(on, "word " * 40 + "end")
    assert len(printed(on)) == 1


def test_a_number_stays_with_what_it_counts() -> None:
    on = console(20)
    terminal.say(on, "pedestrian 8, motorcycle 4, barrier 12")
    assert [line.strip() for line in printed(on)] == ["pedestrian 8,", "motorcycle 4,", "barrier 12"]


def wide_table(kept: object) -> Table:
    table = Table()
    for index in kept:  # type: ignore[attr-defined]
        table.add_column(f"column {index}")
    return table


def test_the_least_important_columns_go_first_and_no_more_than_need_be() -> None:
    table, gone = terminal.fitting(console(60), wide_table, 6, drop=[3, 1, 5])
    assert gone == [3] and len(table.columns) == 5
    assert terminal.fitting(console(20), wide_table, 6, drop=[3, 1, 5])[1] == [3, 1, 5]
    assert terminal.fitting(console(20, is_terminal=False), wide_table, 6, drop=[3, 1, 5])[1] == []


def test_a_table_in_markdown_fits_and_says_what_is_left_out() -> None:
    text = "machine\n\n| operator | shapes | ms |\n| --- | --- | --- |\n| fft | 512x256x16x16 512x16 | 1.5 |\n"
    on = console(28)
    terminal.say_markdown(on, text, drop=["shapes"])
    lines = printed(on)
    assert max(map(len, lines)) <= 28 and "left out for width: shapes" in lines
    assert any(line.split() == ["fft", "1.5"] for line in lines)
    plain = console(30, is_terminal=False)
    terminal.say_markdown(plain, text, drop=["shapes"])
    assert plain.file.getvalue() == text  # type: ignore[attr-defined]


def row(step: int, losses: dict[str, float]) -> Row:
    total = {"total": sum(losses.values()), **losses}
    return Row(step=step, epoch=0, samples=step, losses=total, grad_norm=1.0, lr=2e-4, step_time=0.5, data_time=0.0)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_line_of_a_training_fits_and_cuts_nothing(width: int) -> None:
    on = console(width)
    with Reporter(console=on) as reporter:
        reporter.begin_steps(0, 12_345)
        for step in range(1, 4):
            reporter.step(row(step, TERMS), 12_345, 8)
        assert reporter._bar is not None
        reporter._bar.refresh()
        shown = console(width)
        shown.print(reporter._bar.make_tasks_table(reporter._bar.tasks), soft_wrap=True)
    (line,) = printed(shown)
    assert len(line.rstrip()) < width and "…" not in line
    assert "train" in line and "3/12345" in line
    assert "loss 478.0" in line or width == 40
    assert ("depth 11.62" in line and "box 12.93" in line) == (width >= 80)


@pytest.mark.parametrize("value", [0.0, 0.0123, 1.0, 9.9999, 99.996, 478.0164, 12345.6, -3.25])
def test_figures_take_the_same_room(value: float) -> None:
    assert len(terminal.figure(abs(value))) <= 6
    assert float(terminal.figure(value)) == pytest.approx(value, rel=6e-3)


def test_a_log_has_every_term_of_the_loss_and_the_last_layer_before_inner_ones() -> None:
    on = console(80, is_terminal=False)
    inner = {f"d{layer}.loss_{name}": 1.0 for layer in range(5) for name in ("cls", "bbox")}
    with Reporter(console=on, every=1) as reporter:
        reporter.begin_steps(0, 4)
        reporter.step(row(1, TERMS), 4, 8)
        reporter.step(row(2, {**inner, "loss_cls": 2.0, "loss_bbox": 3.0}), 4, 8)
    first, second = printed(on)
    assert "(heatmap 453.5, box 12.93, depth 11.62)" in first
    assert "(loss_cls 2.000, loss_bbox 3.000, d0.loss_cls 1.000" in second and "2 more)" in second


@pytest.mark.parametrize(
    ("seconds", "said"), [(-1.0, "0:00"), (59.6, "1:00"), (3599.0, "59:59"), (36_000.0, "10:00:00")]
)
def test_clocks(seconds: float, said: str) -> None:
    assert terminal.clock(seconds) == said
