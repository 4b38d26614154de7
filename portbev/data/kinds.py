"""Records of data sets and their kinds of samples. Plugins return them from the hook ``portbev_datasets``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from portbev.config.data import CommonData
from portbev.data.base import Dataset, Part
from portbev.data.generated.scheme import Scheme
from portbev.paths import DataPath

if TYPE_CHECKING:
    from portbev.data.fetching import Fetching
    from portbev.viz.seen import Browser

Group = Literal["synth", "check", "convert"]
"""Command groups of ``portbev data``: generate a data set, check one, convert one to another layout."""


class Opener(Protocol):
    """Opens the training or the evaluation split of a ``data`` section."""

    def __call__(self, section: Any, root: DataPath, part: Part, *, seed: int) -> Dataset:
        """Open the split ``part``. Raises DataError if a table, a field, the split or a sample is missing."""
        ...


@dataclass(frozen=True)
class DataKind:
    """A kind of ``data`` section.

    Attributes:
        name: value of ``data.kind``.
        section: schema of the section; its ``kind`` must allow ``name``.
        open: opens a split that such a section describes.
        browse: draws the samples of an opened split as training sees them, for ``portbev data browse``; None: nothing
            does.
    """

    name: str
    section: type[CommonData]
    open: Opener
    browse: Callable[[Any], Browser] | None = None


def _unknown(folder: DataPath) -> bool:
    return False


def _no_commands() -> Mapping[Group, Callable[..., None]]:
    return {}


@dataclass(frozen=True)
class DataSet:
    """A data set with its kinds of samples, its commands, and its generated form.

    Attributes:
        name: its name in commands such as ``portbev data check NAME ROOT``.
        kinds: the kinds of samples that models can train on.
        commands: returns the functions behind ``portbev data GROUP NAME``; Typer reads their signatures. It is called
            only when such a command runs, so that it can import slow modules.
        generated: data roots of the form ``PREFIX:?OPTIONS``, which are generated on first use; None: there are none.
        fetching: returns what is known of the files of its release; None: nothing is.
        looks_like: whether a folder looks like a root of the data set or a part of one, by the names in it.
    """

    name: str
    kinds: tuple[DataKind, ...]
    commands: Callable[[], Mapping[Group, Callable[..., None]]] = _no_commands
    generated: Scheme[Any] | None = None
    looks_like: Callable[[DataPath], bool] = _unknown
    fetching: Callable[[], Fetching] | None = None
