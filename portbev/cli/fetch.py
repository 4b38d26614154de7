"""``portbev data fetch-plan``: which archives a split needs, and which are missing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from portbev.data.fetching import Plan


def fetch_plan(
    config: str = typer.Argument(
        "", metavar="CONFIG", help="Configuration whose data are to be fetched, or the name of a data set."
    ),
    version: str = typer.Option("", "--version", help="Version of the data set; default: the configuration's."),
    splits: str = typer.Option("", "--splits", help="Splits, with commas; default: the configuration's two."),
    root: str = typer.Option("", "--root", "--data-root", help="Look here for what is there already."),
    set_: list[str] = typer.Option(  # noqa: B008
        [], "--set", "--cfg-options", metavar="KEY=VALUE", help="Change a configuration value; repeatable."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Say which archives of a data set's release some splits need, how large they are, and which a data root lacks.
    Nothing is fetched. With --root the exit status is 2 when something needed is missing.

    Example: portbev data fetch-plan bevformer/base --root /data/nuscenes
    """
    import json
    from dataclasses import asdict

    from portbev.data.fetching import plan
    from portbev.errors import ConfigError

    data_set, section = "", None
    if config:
        data_set, section = _named(config, set_)
    elif set_:
        raise ConfigError("changes a configuration, and none is given", where="--set", cure="Add one: CONFIG")
    elif not version:
        raise ConfigError("nothing says for which data", cure="Give a configuration, or --version")
    wanted = tuple(name.strip() for name in splits.split(",") if name.strip())
    if section is not None:
        version = version or getattr(section, "version", "raw")
        wanted = wanted or tuple(dict.fromkeys((section.train_split, section.eval_split)))
    if not wanted or not version:
        missing = "--version" if not version else "--splits"
        raise ConfigError(f"{missing} is needed where no configuration says it", cure=f"Give {missing}")
    made = plan(data_set, version, wanted, root=root or None, section=section)
    if as_json:
        rows = [{**asdict(piece), "state": state} for piece, state in made.pieces]
        print(json.dumps({**asdict(made), "pieces": rows}, indent=1))
    else:
        _show(made, root)
    if root and made.missing:
        raise typer.Exit(2)


def _named(config: str, overrides: list[str]) -> tuple[str, Any]:
    """The name of a data set, and the data section if a configuration named it."""
    from portbev.config import load_config
    from portbev.plugins import plugins

    if config in plugins().datasets():
        return config, None
    section = load_config(config, overrides).data
    return next(
        one.name for one in plugins().datasets().values() if section.kind in {kind.name for kind in one.kinds}
    ), section


def _show(made: Plan, root: str) -> None:
    from rich.table import Table

    from portbev.terminal import fitting, open_console, print_whole, say

    console = open_console()
    columns = ("file", "GB", "in the root", "holds")

    def table(kept: Any) -> Table:
        drawn = Table(box=None, pad_edge=False)
        for column in kept:
            drawn.add_column(columns[column], justify="right" if column == 1 else "left", no_wrap=True)
        for piece, state in made.pieces:
            size = "?" if piece.gigabytes is None else f"{piece.gigabytes:.2f}"
            told = f"{state or '-'}{' (optional)' if piece.optional and state in ('', 'missing') else ''}"
            row = (piece.name, size, told, piece.holds)
            drawn.add_row(*(row[column] for column in kept))
        return drawn

    say(console, f"{made.data_set} {made.version}, {' and '.join(made.splits)}")
    print_whole(console, fitting(console, table, len(columns), drop=(3, 1))[0])
    for line in _lines(made, root):
        say(console, line)


def _lines(made: Plan, root: str) -> list[str]:
    missing = made.missing
    known = sum(piece.gigabytes or 0 for piece in missing)
    unknown = sum(piece.gigabytes is None for piece in missing)
    parts = [f"{known:.2f} GB"] if known else []
    parts += [f"{unknown} of a size that is not known"] if unknown else []
    total = " and ".join(parts)
    lines = [*made.notes]
    if made.wanted:
        lines.append(f"{made.present} of {made.wanted} sensor files of key frames are there")
        lines += [f"  {count} of them in {name}" for name, count in made.holding.items()]
    lines.append(f"to fetch: {len(missing)} files, {total}" if missing else "nothing is missing")
    sensors = sum(piece.sensors for piece in missing)
    if sensors > 1:
        lines.append("which scenes lie in which of them is published nowhere: a split may need all of them")
    if known:
        lines.append(f"sizes: {made.source}")
    if not root:
        lines.append("--root DIR says what is there already")
    return lines
