"""Text, tables and progress as wide as the terminal.

Where the output is no terminal (a file, a pipe, a log) a line stays a line, however long, and no column is left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import IO

from rich.box import HORIZONTALS
from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, Task
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

_WORD = re.compile(r"(?:^\s*)?\S+(?: \d\S*)?\s*")  # a number stays with the word before it
_BAR = (8, 30)
"""Characters of a bar: it is left out where fewer remain, and never longer."""


def open_console(file: IO[str] | None = None, *, stderr: bool = False) -> Console:
    """A console that changes neither the colour of numbers nor what stands in brackets."""
    return Console(file=file, stderr=stderr, highlight=False, markup=False, emoji=False)


def say(console: Console, text: str | Text, *, hang: int | None = None) -> None:
    """Print a line; a terminal gets it folded between words, what follows further in. Paths and other words stay whole.

    Args:
        hang: by how many characters what follows is moved in; default: two more than the line itself.
    """
    line = Text(text) if isinstance(text, str) else text
    if not console.is_terminal:
        console.print(line, soft_wrap=True)
        return
    if hang is None:
        hang = len(line.plain) - len(line.plain.lstrip(" ")) + 2
    hang = min(hang, console.width // 2)
    for number, piece in enumerate(line.divide(_folds(line.plain, console.width, hang))):
        piece.rstrip()
        console.print(Text(" " * hang) + piece if number else piece, soft_wrap=True)


def tell(text: str, *, stderr: bool = False) -> None:
    """A line of a command's own, on the standard output or the standard error (:func:`say`)."""
    say(open_console(stderr=stderr), text)


def _folds(text: str, width: int, hang: int) -> list[int]:
    """Where to fold ``text`` for lines of ``width`` cells, all but the first moved in by ``hang``."""
    folds, used = list[int](), 0
    for word in _WORD.finditer(text):
        size = cell_len(word[0].rstrip())
        if used and used + size > width:
            folds.append(word.start())
            used = hang
        used += cell_len(word[0])
    return folds


def fitting(
    console: Console, make: Callable[[Sequence[int]], Table], count: int, drop: Sequence[int] = ()
) -> tuple[Table, list[int]]:
    """The table that fits the terminal: without the least important of its columns, where it is too narrow for all.

    Args:
        make: the table of some of its columns, by number.
        count: how many columns there are.
        drop: the columns that may go, the least important first.

    Returns:
        The table, and the columns that it lacks. Where no more may go it may still be too wide.
    """
    kept, gone = list(range(count)), list[int]()
    table = make(kept)
    if not console.is_terminal:
        return table, gone
    for column in drop:
        if wide(console, table) <= console.width:
            break
        kept.remove(column)
        gone.append(column)
        table = make(kept)
    return table, gone


def wide(console: Console, table: RenderableType) -> int:
    """Characters that ``table`` takes where there is room."""
    return console.measure(table, options=console.options.update(width=10_000)).maximum


def print_whole(console: Console, table: Table) -> None:
    """Print a table without cutting or folding its cells, however narrow the console is."""
    before = console.width
    console.width = max(before, wide(console, table))
    try:
        console.print(table, soft_wrap=True, crop=False)
    finally:
        console.width = before


def clock(seconds: float) -> str:
    """``m:ss``, or ``h:mm:ss`` from an hour on."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def figure(value: float) -> str:
    """A number in five characters where that will do, so that what follows it stays in its place."""
    if not 0.01 <= abs(value) < 1e5:
        return f"{value:.2e}" if value else "0.000"
    digits = max(1, len(f"{abs(value):.0f}")) if abs(value) >= 0.1 else 0
    return f"{value:.{max(0, 4 - digits)}f}"


class Line(ProgressColumn):
    """A whole line of progress: what, bar, how many, time left, and what the task's field ``said`` lists.

    ``said`` is a list of texts, the most important first. What does not fit is left out: the bar first, then the last
    texts of ``said``, then the time. Nothing is cut.
    """

    max_refresh = None

    def __init__(self, console: Console) -> None:
        super().__init__()
        self._console = console

    def render(self, task: Task) -> RenderableType:
        """The line for the console's width."""
        room = self._console.width - 1
        head = task.description
        total = f"{task.total:.0f}" if task.total is not None else "?"
        counted = f"{task.completed:.0f}/{total}".rjust(2 * len(total) + 1) if total != "?" else f"{task.completed:.0f}"
        left = room - len(head) - 1 - len(counted)
        gone = task.finished_time if task.finished else task.elapsed
        ahead = None if task.finished else task.time_remaining
        texts = ["" if ahead is None else f"{clock(ahead)} left", *task.fields.get("said", ())]
        said = []
        for text in [*texts, "" if gone is None else f"{clock(gone)} elapsed"]:
            if len(text) + 2 > left:
                break
            if text:
                said.append(text)
                left -= len(text) + 2
        bar = min(_BAR[1], left - 1)
        grid = Table.grid(padding=(0, 1, 0, 0))
        cells: list[RenderableType] = [Text(head, no_wrap=True)]
        grid.add_column(width=len(head), no_wrap=True)
        if bar >= _BAR[0] and task.total is not None:
            grid.add_column(width=bar)
            cells.append(ProgressBar(total=max(1.0, task.total), completed=task.completed, width=bar))
        tail = "  ".join([counted, *said])
        grid.add_column(width=len(tail), no_wrap=True)
        cells.append(Text(tail, no_wrap=True))
        grid.add_row(*cells)
        return grid


def progress(console: Console, *, disable: bool = False) -> Progress:
    """Bars of one line each on ``console``; a task's field ``said`` is what stands beside it (:class:`Line`)."""
    return Progress(Line(console), console=console, disable=disable)


def say_markdown(console: Console, text: str, *, drop: Sequence[str] = ()) -> None:
    """Print Markdown: as it is where there is no terminal, with its tables as wide as the terminal where there is one.

    Args:
        drop: headings of the columns that may go, the least important first.
    """
    if not console.is_terminal:
        console.print(Text(text), end="", soft_wrap=True)
        return
    rows: list[list[str]] = []
    for line in [*text.splitlines(), None]:
        if line is not None and line.startswith("|"):
            rows.append([cell.strip() for cell in line.strip("|").split(" | ")])
            continue
        if rows:
            _print_rows(console, rows[0], rows[2:], drop)
            rows = []
        if line is not None:
            say(console, line)


def _print_rows(console: Console, header: Sequence[str], rows: Sequence[Sequence[str]], drop: Sequence[str]) -> None:
    rows = [[*row, *[""] * len(header)][: len(header)] for row in rows]

    def make(kept: Sequence[int], gap: int) -> Table:
        table = Table(box=HORIZONTALS, show_edge=False, pad_edge=False, padding=(0, gap, 0, 0))
        for index in kept:
            left = not any(row[index][:1].isdigit() for row in rows)
            table.add_column(header[index], justify="left" if left else "right", no_wrap=True)
        for row in rows:
            table.add_row(*(row[index] for index in kept))
        return table

    order = [header.index(name) for name in drop if name in header]
    gap = 1 if wide(console, make(range(len(header)), 1)) <= console.width else 0
    table, gone = fitting(console, lambda kept: make(kept, gap), len(header), order)
    print_whole(console, table)
    if gone:
        say(console, f"left out for width: {'; '.join(header[one] for one in sorted(gone))}")
