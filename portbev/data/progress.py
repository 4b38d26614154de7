"""Reports progress: to a bar on stderr, or to a function of the caller."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

Progress = Callable[[int, int], None]
"""A function of (number done, total number)."""


@contextlib.contextmanager
def reporter(progress: bool | Progress, title: str, total: int) -> Iterator[Progress]:
    """The function to report to: ``progress`` itself, one that moves a bar (True), or one that does nothing."""
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda done, total: None
        return
    from portbev import terminal

    console = terminal.open_console(stderr=True)
    with terminal.progress(console, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=total)
        yield lambda done, total: bar.update(task, completed=done, total=total)
