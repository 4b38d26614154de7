"""Help of a group of commands that says what each of them does in a whole sentence, however narrow the terminal."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperGroup


class Listing(TyperGroup):
    """A group whose list of commands is folded, not cut."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write a line, or several, for each command."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None and not command.hidden:
                rows.append((name, _sentence(command.short_help or command.help or "")))
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _sentence(text: str) -> str:
    """The first one."""
    return re.split(r"(?<=\.)\s|\n\s*\n", text.strip(), maxsplit=1)[0].replace("\n", " ")
