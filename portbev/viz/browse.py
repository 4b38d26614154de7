"""Looks through the samples of a data set as a training sees them: as a page that asks for nothing, or as pictures."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from portbev.data.base import Dataset
from portbev.errors import PortbevError
from portbev.plugins import plugins
from portbev.viz import palette
from portbev.viz.canvas import Image
from portbev.viz.pictures import write_png
from portbev.viz.seen import Browser, Seen, with_lines

QUALITY = 88
"""Of the JPEGs in the page."""

MOST = 600
"""Pictures of a page, of up to half a megabyte each."""


@dataclass(frozen=True)
class Looked:
    """The looks at a sample.

    Attributes:
        index: place of the sample in the split, as training counts.
        looks: as annotated, then an epoch each.
    """

    index: int
    token: str
    scene: str
    looks: tuple[Seen, ...]

    @property
    def name(self) -> str:
        """A name for files: the scene and the token."""
        parts = (part for part in (self.scene, self.token) if part)
        return "".join(sign if sign.isalnum() or sign in "-." else "_" for sign in "_".join(parts))


def open_browser(kind: str, dataset: Dataset) -> Browser:
    """What draws the samples of a data set of that kind.

    Raises:
        PortbevError: the plugin that brings the kind draws none.
    """
    browse = plugins().data_kinds()[kind].browse
    if browse is None:
        what = f"samples of kind {kind} cannot be drawn: its plugin brings nothing for it"
        raise PortbevError(what, where="data.kind", cure="See DataKind.browse")
    return browse(dataset)


def spread(count: int, among: int) -> list[int]:
    """``count`` of the indices below ``among``, at even distances."""
    count = min(count, among)
    return [(2 * place + 1) * among // (2 * count) for place in range(count)]


def chosen(dataset: Dataset, *, count: int, indices: Sequence[int], tokens: Sequence[str]) -> list[int]:
    """The indices of the samples to look at: those named, or ``count`` spread over the split.

    Raises:
        PortbevError: the split has no such sample.
    """
    if not indices and not tokens:
        return spread(count, len(dataset))
    for index in indices:
        if not 0 <= index < len(dataset):
            what = f"{dataset.split} has no sample {index}"
            raise PortbevError(what, where="--index", cure=f"There are 0 to {len(dataset) - 1}")
    place = {token: number for number, token in reversed(list(enumerate(dataset.tokens)))}
    for token in tokens:
        if token not in place:
            cure = f"For example: {', '.join(list(dict.fromkeys(dataset.tokens))[:3])}"
            raise PortbevError(f"{dataset.split} has no sample {token!r}", where="--token", cure=cure)
    return [*indices, *(place[token] for token in tokens)]


def look(dataset: Dataset, browser: Browser, indices: Sequence[int], *, epochs: Sequence[int]) -> Iterator[Looked]:
    """The looks at each of the samples, one sample at a time."""
    for index in indices:
        looks = (browser.annotated(index), *(browser.seen(index, epoch) for epoch in epochs))
        yield Looked(index, dataset.tokens[index], browser.scene(index), looks)


def write_folder(samples: Iterator[Looked], folder: Path) -> Iterator[Path]:
    """A PNG for each look, with its text below; yields each path after its file is written."""
    for sample in samples:
        for seen in sample.looks:
            path = folder / f"{sample.index:06d}_{sample.name}_{seen.name.replace(' ', '_')}.png"
            write_png(with_lines(seen.image, seen.said), path)
            yield path


def sheet(sample: Looked) -> Image:
    """All looks at a sample in one picture, one below the other."""
    pictures = [with_lines(seen.image, seen.said) for seen in sample.looks]
    page = np.full((sum(map(len, pictures)), max(one.shape[1] for one in pictures), 3), palette.PAGE, np.uint8)
    top = 0
    for picture in pictures:
        page[top : top + len(picture), : picture.shape[1]] = picture
        top += len(picture)
    return page


def page(samples: Iterator[Looked], *, title: str, facts: Sequence[str]) -> str:
    """The looks as an HTML page: pictures, style and script are inside it, and its own policy forbids it to fetch."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("portbev.viz", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    script = environment.get_template("browse.js").render().strip()
    return environment.get_template("browse.html").render(
        title=title,
        facts=facts,
        samples=[_entry(sample) for sample in samples],
        style=Markup(environment.get_template("browse.css").render().strip()),
        script=Markup(script),
        policy=_policy(script),
    )


def _entry(sample: Looked) -> dict[str, Any]:
    looks = [{"name": seen.name, "said": seen.said, "picture": _data_url(seen.image)} for seen in sample.looks]
    return {"index": sample.index, "token": sample.token, "scene": sample.scene, "looks": looks}


def _data_url(image: Image) -> str:
    from PIL import Image as Pictures

    stream = io.BytesIO()
    Pictures.fromarray(image).save(stream, format="JPEG", quality=QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def _policy(script: str) -> str:
    """The only script that may run is the page's own, and nothing may be fetched."""
    import hashlib

    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
