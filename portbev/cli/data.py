"""``portbev data``: browse data, and generate, check and convert data sets by the commands that plugins bring."""

from __future__ import annotations

from typing import get_args

import typer

from portbev.cli.browse import browse
from portbev.cli.fetch import fetch_plan
from portbev.cli.listing import Listing
from portbev.data.kinds import Group
from portbev.plugins import plugins

_HELP: dict[Group, str] = {
    "synth": "Generate a synthetic data set.",
    "check": "Check a data set: tables, links, files.",
    "convert": "Convert a data set into another layout.",
}


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the group of commands to ``app``."""
    groups: dict[Group, typer.Typer] = {
        group: typer.Typer(cls=Listing, help=_HELP[group], no_args_is_help=True) for group in get_args(Group)
    }
    for data_set in plugins().datasets().values():
        for group, function in data_set.commands().items():
            groups[group].command(data_set.name)(function)
    data = typer.Typer(cls=Listing, help=help, no_args_is_help=True)
    for group, commands in groups.items():
        if commands.registered_commands:
            commands.callback()(_group)
            data.add_typer(commands, name=group)
    data.command("browse")(browse)
    data.command("fetch-plan")(fetch_plan)
    app.add_typer(data, name=name, help=help)


def _group() -> None:
    """Keeps a group with a single command a group."""
