"""What the ``data`` section has, whatever data set it names."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from portbev.config.meaning import Meaning
from portbev.config.section import Section, absolute


def _absolute_root(text: str) -> str:
    """A folder as it is found from anywhere; data that are generated keep their name."""
    return text if not text or _GENERATED.match(text) else absolute(text)


_GENERATED = re.compile(r"[A-Za-z_][\w-]+:(\?|$)")
Root = Annotated[str, AfterValidator(_absolute_root)]


class CommonData(Section):
    """Base of the ``data`` sections; ``kind`` says whose it is (see :class:`portbev.data.kinds.DataKind`)."""

    kind: str
    """Which data set and form of samples; the other keys of `data` are those of its schema."""
    root: Annotated[Root | None, Meaning.NEITHER] = None
    """Folder of the data set, or `PREFIX:?OPTIONS` for data that are generated on first use; `--data-root` overrides
    it."""
    train_split: str = Field("train", min_length=1)
    """Name of the split that is trained on."""
    eval_split: Annotated[str, Meaning.SCORE] = Field("val", min_length=1)
    """Name of the split that is evaluated."""
    workers: Annotated[int, Meaning.NEITHER] = Field(4, ge=0, le=1024)
    """Processes that load batches; 0: the training's own."""
    eval_stride: Annotated[int, Meaning.WATCH] = Field(1, ge=1)
    """Evaluate every so manieth sample during training; the last evaluation takes all. [samples]"""
    augment: bool = True
    """Augment training samples; false: take them as they are."""
