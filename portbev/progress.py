"""What a person sees of a long run: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from portbev import terminal
from portbev.terminal import clock, figure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.progress import Progress

    from portbev.runs.scalars import Row

_TERMS = 10
"""Loss terms in a line, at most."""


class Reporter(AbstractContextManager["Reporter"]):
    """Shows steps and evaluation on the standard output; errors have the standard error for themselves.

    Args:
        quiet: show nothing (every process but the first).
        every: steps between lines where there is no terminal.
    """

    def __init__(self, *, quiet: bool = False, every: int = 10, console: Console | None = None) -> None:
        self.quiet, self.every = quiet, every
        self.console = console or terminal.open_console(sys.stdout)
        self._bar: Progress | None = None
        self._task: Any = None
        self._started, self._first = time.perf_counter(), 0

    def __exit__(self, *_: object) -> None:
        self._stop()

    def say(self, text: str, *, hang: int | None = None) -> None:
        """One line for the person; ``hang`` as in :func:`portbev.terminal.say`."""
        if self.quiet:
            return
        try:
            terminal.say(self.console, text, hang=hang)
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
        if self._bar is not None:
            speed = f"{samples / row.step_time:.2f} samples/s"
            loss, epoch, lr = f"loss {figure(row.losses['total'])}", f"epoch {row.epoch + 1}", f"lr {row.lr:.2e}"
            self._bar.update(self._task, completed=row.step, said=[loss, *_terms(row.losses), speed, epoch, lr])
        elif row.step % self.every == 0 or row.step in (1, total):
            done = row.step - self._first
            left = (time.perf_counter() - self._started) / max(1, done) * (total - row.step)
            terms = _terms(row.losses)
            loss = f"loss {row.losses['total']:.4f}" + (f" ({', '.join(terms)})" if terms else "")
            speed = f"{row.step_time:.2f} s/step  {clock(left)} left"
            self.say(f"step {row.step}/{total}  epoch {row.epoch + 1}  {loss}  lr {row.lr:.2e}  {speed}")

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
        self._bar = terminal.progress(self.console)
        self._task = self._bar.add_task(what, total=total, completed=done, said=[])
        self._bar.start()

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _terms(losses: Mapping[str, float]) -> list[str]:
    """The loss's terms, but where it has one alone; those of inner layers (``d0.loss_cls``) after the others."""
    names = sorted((name for name in losses if name != "total"), key=lambda name: "." in name)
    terms = [f"{name} {figure(losses[name])}" for name in names]
    if len(terms) < 2:
        return []
    return terms if len(terms) <= _TERMS else [*terms[:_TERMS], f"{len(terms) - _TERMS} more"]
