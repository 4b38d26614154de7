"""``portbev parity``: whether devices agree, and where they do not. A file is a subcommand, added by ``add(group)``."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

import typer

from portbev.cli.listing import Listing


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the group of commands to ``app``: those of the modules beside this one, by name."""
    group = typer.Typer(cls=Listing, help=help, no_args_is_help=True)
    for subcommand in sorted(module.name for module in iter_modules(__path__)):
        import_module(f"{__name__}.{subcommand}").add(group)
    group.callback()(parity)
    app.add_typer(group, name=name, help=help)


def parity() -> None:
    """Compare runs across devices."""
