"""Writes pictures of samples to files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from portbev.files import atomic_write
from portbev.viz.canvas import Image
from portbev.viz.views import Views


def write_pictures(views: Views, tokens: Sequence[str], folder: Path | str, *, score: float = 0.3) -> Iterator[Path]:
    """Draw the samples and write a PNG for each; yields each path after its file is written.

    Raises:
        PortbevError: there are no predictions for a sample, data is damaged, or the folder cannot be written.
    """
    from portbev import terminal

    for token in tokens:
        views.check(token)  # before any is drawn
    console = terminal.open_console(stderr=True)
    with terminal.progress(console, disable=not console.is_terminal) as bar:
        for token in bar.track(tokens, description="drawing"):
            name, picture = views.draw(token, score)
            path = Path(folder) / f"{name}.png"
            write_png(picture, path)
            yield path


def write_png(image: Image, path: Path) -> None:
    """Write (H, W, 3) RGB as PNG, atomically."""
    from PIL import Image as Pictures

    with atomic_write(path) as temporary:
        Pictures.fromarray(image).save(temporary, format="PNG")
