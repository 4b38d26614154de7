"""The commands that ``portbev --help`` leads to, as values: for the tests of pages, and for docs/commands.md.

``python tests/pages/printed_help.py docs/commands.md`` writes the page.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEAD = """# Every command and option

What `portbev COMMAND --help` prints, on one page. It is made of the commands themselves by
`python tests/pages/printed_help.py docs/commands.md`, and a test compares it with them.

`--debug`, anywhere, shows the traceback of an error. Exit status: 0 done, 1 a judging command found something (a fault,
a difference, a requirement that is not shown), 2 an error that you can mend, 130 interrupted.
"""


def commands() -> dict[str, Any]:
    """``{"train": command, "parity report": command, ...}``: those that do something, by the words that call them."""
    import typer

    from portbev.autoload import no_autoload
    from portbev.cli import build_app

    with no_autoload():
        return dict(_walk("", typer.main.get_command(build_app(None))))


def _walk(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    if not hasattr(command, "commands"):
        yield words, command
        return
    for name, inner in command.commands.items():
        yield from _walk(f"{words} {name}".strip(), inner)


def options(command: Any) -> dict[str, Any]:
    """Every name of an option, ``--set`` and ``--no-bands``, and its parameter."""
    return {name: one for one in command.params for name in (*one.opts, *one.secondary_opts) if name.startswith("-")}


def page() -> str:
    """docs/commands.md."""
    parts = [HEAD]
    for words, command in sorted(commands().items()):
        parts.append(f"## portbev {words}\n\n{_plain(command.help)}\n\n| | |\n|---|---|\n{_rows(command)}")
    return "\n".join(parts)


def _rows(command: Any) -> str:
    return "".join(f"| `{_cell(_name(one))}` | {_cell(_said(one))} |\n" for one in command.params if one.name != "help")


def _name(one: Any) -> str:
    names = ", ".join(name for name in (*one.opts, *one.secondary_opts) if name.startswith("-"))
    if not names:
        return one.metavar or one.name.upper()
    return names if getattr(one, "is_flag", False) else f"{names} {one.metavar or 'VALUE'}"


def _said(one: Any) -> str:
    text, default = _plain(one.help), one.default
    if callable(default) or default in (None, False, True, "", [], ()):
        return text
    shown = ", ".join(map(str, default)) if isinstance(default, (list, tuple)) else default
    return f"{text} Default: `{shown}`."


def _plain(text: str | None) -> str:
    return " ".join((text or "").split())


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(page(), encoding="utf-8")
