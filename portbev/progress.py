"""What a person sees of a long run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from portbev.runs.scalars import Row


class Reporter(AbstractContextManager["Reporter"]):
    """Shows steps and evaluation on the standard output; errors have the standard error for themselves.

    Args:
        quiet: show nothing (every process but the first).
        every: steps between lines where there is no terminal.
    """

    def __init__(self, *, quiet: bool = False, every: int = 10, console: Console | None = None) -> None:
        self.quiet, self.every = quiet, every
        self.console = console or Console(file=sys.stdout)
        self._bar: Progress | None = None
        self._task: Any = None
        self._started, self._first = time.perf_counter(), 0

    def __exit__(self, *_: object) -> None:
        self._stop()

    def say(self, text: str) -> None:
        """One line for the person."""
        if self.quiet:
            return
        try:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True)
        except (OSError, SystemExit):  # who read along has gone (rich ends the process over it); the work goes on
            self.quiet = True

    def begin_steps(self, step: int, total: int) -> None:
        """Training starts at ``step`` of ``total``."""
        self._started, self._first = time.perf_counter(), step
        if not self.quiet and self.console.is_terminal:
            self._start("train", step, total)

    def step(self, row: Row, total: int, samples: int) -> None:
        """A step of ``samples`` samples is done."""
        if self.quiet:
            return
        text = f"epoch {row.epoch + 1}  loss {row.losses['total']:.4f}  lr {row.lr:.2e}"
        if self._bar is not None:
            fps = samples / row.step_time
            self._bar.update(self._task, completed=row.step, said=f"{text}  {fps:.2f} samples/s")
        elif row.step % self.every == 0 or row.step in (1, total):
            done = row.step - self._first
            left = (time.perf_counter() - self._started) / max(1, done) * (total - row.step)
            self.say(f"step {row.step}/{total}  {text}  {row.step_time:.2f} s/step  {_clock(left)} left")

    def end_steps(self) -> None:
        """Training is over, or makes room for an evaluation."""
        self._stop()

    @contextmanager
    def evaluating(self, batches: int) -> Iterator[Any]:
        """Yields a function to call after each batch of an evaluation."""
        paused, self._bar = (self._bar, self._task), None
        if self.quiet or not self.console.is_terminal:
            self.say(f"evaluating {batches} batches")
            yield lambda: None
        else:
            if paused[0] is not None:
                paused[0].stop()
            self._start("evaluate", 0, batches)
            bar = self._bar
            yield lambda: bar.advance(self._task) if bar is not None else None
            self._stop()
            if paused[0] is not None:
                paused[0].start()
        self._bar, self._task = paused

    def _start(self, what: str, done: int, total: int) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
        )
        self._bar = Progress(*columns, console=self.console)
        self._task = self._bar.add_task(what, total=total, completed=done, said="")
        self._bar.start()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"
