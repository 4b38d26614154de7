"""``portbev viz``: detections as pictures."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help)(viz)


def viz(
    context: typer.Context,
    folder: Path = typer.Argument(  # noqa: B008
        ..., metavar="RUN|EVALUATION", help="Run directory, or a folder that portbev eval wrote."
    ),
    samples: int = typer.Option(4, "--samples", min=1, help="How many samples, spread over all that were evaluated."),
    tokens: list[str] = typer.Option([], "--tokens", help="Draw these samples; repeatable, or with commas."),  # noqa: B008
    data_root: str = typer.Option("", "--data-root", help="Data root; default: the one that was evaluated."),
    version: str = typer.Option("", "--version", help="Version of the data; default: the one that was evaluated."),
    score: float = typer.Option(0.3, "--score", min=0.0, max=1.0, help="Leave out predictions below this score."),
    out: Path | None = typer.Option(None, "--out", help="Where to write; default: pictures/ in the folder."),  # noqa: B008
) -> None:
    """Draw detections and annotations in the pictures and from above, one PNG per sample."""
    from portbev.errors import PortbevError
    from portbev.viz.pictures import write_pictures
    from portbev.viz.views import open_views

    if tokens and getattr(context.get_parameter_source("samples"), "name", "") == "COMMANDLINE":
        raise PortbevError("--samples does nothing beside --tokens", cure="Leave one of them out")
    views = open_views(folder, data_root=data_root or None, version=version or None)
    named = [token for some in tokens for token in some.split(",") if token]
    for path in write_pictures(views, named or views.spread(samples), out or folder / "pictures", score=score):
        print(path)
