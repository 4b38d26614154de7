"""``portbev configs``."""

from __future__ import annotations

import typer


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=f"{help} Example: portbev configs laptop")(configs)


def configs(
    word: str = typer.Argument("", metavar="WORD", help="List those whose name has this in it: laptop, tiny."),
) -> None:
    """List the configurations that come with portbev, a line each."""
    from portbev.config.layers import read_layers
    from portbev.config.shipped import description, shipped_configs
    from portbev.errors import ConfigError, nearest

    found = {name: path for name, path in shipped_configs().items() if word in name}
    if not found:
        raise ConfigError(f"no configuration's name has {word!r} in it", cure=nearest(word, shipped_configs()))
    generated = {name: bool((read_layers(path).get("data") or {}).get("root")) for name, path in found.items()}
    for title, wanted in (("on generated data, as they are", True), ("on a data set, with --data-root DIR", False)):
        names = [name for name in found if generated[name] is wanted]
        if names:
            print(f"{title}:")
        for name in names:
            _entry(name, description(found[name]), max(map(len, names)))


def _entry(name: str, text: str, longest: int) -> None:
    """A line, or on a narrow terminal the name with the text below it."""
    from portbev import terminal

    console = terminal.open_console()
    line = f"  {name:<{longest}}  {text}"
    if not console.is_terminal or len(line) <= console.width:
        print(line)
        return
    print(f"  {name}")
    terminal.say(console, f"    {text}", hang=4)
