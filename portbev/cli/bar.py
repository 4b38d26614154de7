"""Progress of a command whose output is a table."""

from __future__ import annotations


class Bar:
    """A bar on a terminal, and where there is none a line where asked for.

    It is on the standard error: the table is the output.

    Args:
        what: what is under way.
        every: of so many things that are done one is told where there is no terminal; 0: none.
    """

    def __init__(self, what: str, every: int = 0) -> None:
        from portbev import terminal

        self._console = terminal.open_console(stderr=True)
        self._bar = terminal.progress(self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task(what, total=None)
        self._every, self._said = every, 0

    def __enter__(self) -> Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        """One line."""
        from portbev import terminal

        terminal.say(self._console, text)

    def tick(self, done: int, total: int, what: str | None = None) -> None:
        """So many are done."""
        self._bar.update(self._task, completed=done, total=total, description=what or None)
        if self._every and not self._console.is_terminal and (done - self._said >= self._every or done in (0, total)):
            self._said = done
            self.say(f"{done} of {total} done")
