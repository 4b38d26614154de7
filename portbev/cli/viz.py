"""``portbev viz``: a run's detections as pictures."""

from __future__ import annotations

from pathlib import Path

import typer


def register(app: typer.Typer, name: str, help: str) -> None:
    """Add the command to ``app``."""
    app.command(name, help=help)(viz)


def viz(
    run: Path = typer.Argument(..., metavar="RUN", help="Run directory with predictions.json."),  # noqa: B008
    samples: int = typer.Option(4, "--samples", min=1, help="How many samples, spread over all that were evaluated."),
    tokens: list[str] = typer.Option([], "--tokens", help="Draw these samples; repeatable, or with commas."),  # noqa: B008
    data_root: str = typer.Option("", "--data-root", help="Data root; default: the one the run was made on."),
    version: str = typer.Option("", "--version", help="Version of the data; default: the run's."),
    score: float = typer.Option(0.3, "--score", min=0.0, max=1.0, help="Leave out predictions below this score."),
    out: Path | None = typer.Option(None, "--out", help="Where to write; default: pictures/ in the run."),  # noqa: B008
) -> None:
    """Draw detections and annotations in the pictures and from above, one PNG per sample."""
    from portbev.viz.pictures import write_pictures
    from portbev.viz.views import open_views

    views = open_views(run, data_root=data_root or None, version=version or None)
    named = [token for some in tokens for token in some.split(",") if token]
    folder = out or run / "pictures"
    for path in write_pictures(views, named or views.spread(samples), folder, score=score):
        print(path)
