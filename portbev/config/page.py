"""The page of all keys: docs/configuration.md."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from portbev.config.keys import Group, Key, groups
from portbev.config.meaning import Meaning
from portbev.plugins import Plugins

CLASSES = {
    Meaning.WHAT: "with another value it is another experiment, and no report compares the two",
    Meaning.HOW: "the same experiment, computed otherwise: such runs stand side by side in a report",
    Meaning.SCORE: "how figures come about: such runs are not compared, but a run may be resumed with another value",
    Meaning.WATCH: "what is scored and kept on the way, and when to stop: a run may be resumed with another value",
    Meaning.NEITHER: "names, places and logging: no number depends on it",
}
"""What a key's class says of runs that differ in it."""

_HEAD = """# Every key of a configuration

This page is written by `portbev config page > docs/configuration.md` from the schemas themselves, those of installed
plugins too; a test compares it with them. The same of one key, with the configurations that set it and the code that
reads it: `portbev config explain KEY`. A whole configuration with its defaults: `portbev config show NAME`. What there
is: `portbev configs`. How files extend each other and how settings are typed: [runs](runs.md#settings).

A key without a default must be given. Its class says what it means for two runs that they differ in it:

"""


def page(among: Plugins | None = None) -> str:
    """All keys as Markdown: meaning, type, unit, default and class."""
    found = groups(among)
    common = next(group for group in found if group.prefix == "data" and not group.keys[0].of)
    known = {(key.path, key.text, key.default) for key in common.keys}
    parts = [_HEAD + "\n".join(f"* **{meaning.value}**: {text}" for meaning, text in CLASSES.items()) + "\n"]
    for group in found:
        keys = [key for key in group.keys if group is common or (key.path, key.text, key.default) not in known]
        parts.append("\n".join(_chapter(group, keys)))
    return "\n".join(parts)


def _chapter(group: Group, keys: list[Key]) -> Iterator[str]:
    yield f"## {group.title[:1].upper()}{group.title[1:]}\n"
    for name, members in groupby(keys, lambda key: key.path.rpartition(".")[0]):
        inside = list(members)
        if name not in ("", group.prefix):
            yield f"### `{name}`\n"
        summary = " ".join((inside[0].section.__doc__ or "").split("\n\n")[0].split())
        if summary and name:
            yield f"{summary.replace('``', '`')}\n"
        yield from ("| key | meaning | type | unit | default | class |", "|---|---|---|---|---|---|")
        for key in inside:
            default = f"`{key.default}`" if key.default else "-"
            cells = (f"`{key.name}`", key.text, key.kind, key.unit, default, key.meaning.value)
            yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
        yield ""
