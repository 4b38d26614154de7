"""What the ``data`` section has, whatever data set it names."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from portbev.config.meaning import Meaning
from portbev.config.section import Section, absolute
from portbev.paths import as_text, is_url, roots_in


def _one_text(value: Any) -> Any:
    """A list of roots as the text that stands for it."""
    several = isinstance(value, (list, tuple)) and value and all(isinstance(item, str) and item for item in value)
    return as_text(value) if several else value


def _absolute_root(text: str) -> str:
    """Folders and archives as they are found from anywhere; URLs and data that are generated keep their name."""
    return as_text([root if _NAMED.match(root) or is_url(root) else absolute(root) for root in roots_in(text)])


_NAMED = re.compile(r"$|[A-Za-z_][\w-]+:(\?|$)")  # nothing, or data that are generated
Root = Annotated[str, BeforeValidator(_one_text), AfterValidator(_absolute_root)]


class CommonData(Section):
    """Base of the ``data`` sections; ``kind`` says whose it is (see :class:`portbev.data.kinds.DataKind`)."""

    kind: str
    """Which data set and form of samples; the other keys of `data` are those of its schema."""
    root: Annotated[Root | None, Meaning.NEITHER] = None
    """Folder of the data set, unpacked or with its archives; an archive; a URL; a list of these; or `PREFIX:?OPTIONS`
    for data that are generated on first use. `--data-root` overrides it."""
    train_split: str = Field("train", min_length=1)
    """Name of the split that is trained on."""
    eval_split: Annotated[str, Meaning.SCORE] = Field("val", min_length=1)
    """Name of the split that is evaluated."""
    workers: Annotated[int, Meaning.NEITHER] = Field(4, ge=0, le=1024)
    """Processes that load batches; 0: the training's own."""
    eval_stride: Annotated[int, Meaning.WATCH] = Field(1, ge=1)
    """During training evaluate one sample of so many; the last evaluation takes all of them. [samples]"""
    augment: bool = True
    """Augment training samples; false: take them as they are."""
