"""``portbev config``: show, explain, page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from portbev.cli.listing import Listing

if TYPE_CHECKING:
    from portbev.config import RunConfig
    from portbev.config.keys import Key
    from portbev.config.layers import Layers

_SETTINGS = typer.Option(
    [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
)


_EXAMPLES = "Example: portbev config print mine.yaml --cfg-options optimizer.lr=1e-4 train.epochs=2"


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the commands to ``app``."""
    group = typer.Typer(cls=Listing, no_args_is_help=True, help=help)
    group.command("show")(show)
    group.command("print", help=f"The same as show, by another name.\n\n{_EXAMPLES}")(show)
    group.command("explain")(explain)
    group.command("page")(page)
    app.add_typer(group, name=name)


def show(
    name: str = typer.Argument(..., metavar="NAME", help="A shipped configuration, a YAML file, or a run's folder."),
    diff: str | None = typer.Option(None, "--diff", metavar="OTHER", help="Show the keys in which this one differs."),
    set_: list[str] = _SETTINGS,
    every: bool = typer.Option(False, "--all", help="Of --diff, every key, not the first ten."),
) -> None:
    """Print a configuration with all its defaults, as YAML. Each key has its class and who said it beside it.

    Examples: portbev config show bevdepth/laptop; portbev config show mine.yaml --diff bevdepth/laptop
    """
    from portbev import terminal
    from portbev.config.load import validated
    from portbev.config.written import annotated, origins

    layers = _layers(name, set_)
    config = validated(layers)
    if diff is not None:
        _show_difference(config, validated(_layers(diff, ())), name, diff, every=every)
        return
    console = terminal.open_console()
    width = console.width if console.is_terminal else None
    for line in (f"{name}: class and origin of each key;", "`portbev config explain KEY` says more"):
        print(f"# {line}")
    print(annotated(config, origins(config, layers), width), end="")


def _layers(name: str, settings: Sequence[str]) -> Layers:
    """Of a file, a shipped configuration, or the configuration that a run recorded."""
    from portbev.config.load import layers_of
    from portbev.runs import load_run

    if (Path(name) / "run.json").is_file():
        layers = layers_of(load_run(Path(name)).record.config, settings)
        layers.source = name
        return layers
    return layers_of(name, settings)


def _show_difference(config: RunConfig, other: RunConfig, name: str, diff: str, *, every: bool) -> None:
    from portbev import lists, terminal
    from portbev.config.section import keys_of
    from portbev.config.written import written

    sides = [{key: (value, meaning) for key, value, meaning in keys_of(one)} for one in (config, other)]
    keys = [key for key in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(key) != sides[1].get(key)]
    console, parts = terminal.open_console(), f" ({lists.families(keys)})" if len(keys) > lists.MOST else ""
    terminal.say(console, f"{name} -> {diff}: {_count(len(keys))}{parts}")
    shown, more = lists.shorten(keys, None if every else lists.MOST)
    for key in shown:
        said = [written(side[key][0]) if key in side else "(no such key)" for side in sides]
        meaning = (sides[0].get(key) or sides[1][key])[1]
        terminal.say(console, f"  {meaning.value:<7}  {key}: {said[0]} -> {said[1]}", hang=11)
    if more:
        terminal.say(console, f"  and {more} more (--all shows them)")


def _count(keys: int) -> str:
    return {0: "no key differs", 1: "1 key differs"}.get(keys, f"{keys} keys differ")


def explain(
    key: str = typer.Argument(..., metavar="KEY", help="optimizer.lr; a section; or the end of a key: lr."),
) -> None:
    """Say what a key means: type, unit, default, class, which shipped configurations set it, and who reads it.

    Examples: portbev config explain optimizer.lr; portbev config explain model.decode
    """
    from portbev import terminal
    from portbev.config.keys import find_keys

    found, console = find_keys(key), terminal.open_console()
    if len({one.path for one in found}) > 1:
        for one in found:
            terminal.say(console, f"{one.path}{_of(one)}: {one.text}")
        terminal.say(console, "More of one: portbev config explain KEY")
        return
    for one in found:
        _explain(one, key)


def _explain(key: Key, asked: str) -> None:
    from portbev import terminal
    from portbev.config.page import CLASSES
    from portbev.config.readers import readers
    from portbev.config.shipped import who_says
    from portbev.config.written import written

    said = who_says(asked if asked.startswith(f"{key.path}.") else key.path)
    setting = [f"{name}: {written(value)}" for name, value in said.items() if not key.of or _has(name, key)]
    console = terminal.open_console()
    terminal.say(console, f"{key.path}{_of(key)}")
    terminal.say(console, f"  {key.text or 'Its schema does not say what it means.'}", hang=2)
    for label, text in {
        "type": key.kind,
        "unit": key.unit,
        "default": key.default or "none: it must be given",
        "class": f"{key.meaning.value}: {CLASSES[key.meaning]}",
        "set by": ", ".join(setting) or "no shipped configuration",
        "read by": ", ".join(readers(key)) or "nothing was found by this name",
    }.items():
        if text:
            terminal.say(console, f"  {label:<8}  {text}", hang=12)


def _of(key: Key) -> str:
    return f" ({', '.join(key.of)})" if key.of else ""


def _has(name: str, key: Key) -> bool:
    """Whether a shipped configuration is of the family or kind whose key it is."""
    from portbev.config.layers import read_layers
    from portbev.config.shipped import shipped_configs
    from portbev.plugins import plugins

    raw = read_layers(shipped_configs(parts=True)[name])
    family = str((raw.get("model") or {}).get("family"))
    found = plugins().models().get(family)
    kind = (raw.get("data") or {}).get("kind") or next(iter(found.takes if found else ()), None)
    return f"model.family: {family}" in key.of or f"data.kind: {kind}" in key.of


def page() -> None:
    """Print every key as Markdown, those of installed plugins too. Example: portbev config page > configuration.md"""
    from portbev.config.page import page

    print(page(), end="")
