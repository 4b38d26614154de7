"""What a data set offers to the framework; plugins return it from the hook ``portbev_datasets``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from portbev.config.data import CommonData
from portbev.data.base import Dataset, Part
from portbev.data.generated.scheme import Scheme

Group = Literal["synth", "check", "convert"]
"""The groups of ``portbev data``: make it, examine it, write it in another layout."""


class Opener(Protocol):
    """Opens the training or the evaluation split of a ``data`` section."""

    def __call__(self, section: Any, root: Path, part: Part, *, seed: int) -> Dataset:
        """Raises DataError for a missing table, field, split or sample."""
        ...


@dataclass(frozen=True)
class DataKind:
    """A kind of ``data`` section.

    Attributes:
        name: value of ``data.kind``.
        section: schema of the section; its ``kind`` must allow ``name``.
        open: who reads it.
    """

    name: str
    section: type[CommonData]
    open: Opener


def _no_commands() -> Mapping[Group, Callable[..., None]]:
    return {}


@dataclass(frozen=True)
class DataSet:
    """A data set: one room with its kinds of samples, its commands, and its generated form.

    Attributes:
        name: what ``portbev data check NAME ROOT`` and the like call it.
        kinds: views of it that models train on.
        commands: gives the functions behind ``portbev data GROUP NAME``, whose signatures Typer reads. It is called
            when such a command runs, and may import what they need.
        generated: data roots of the form ``PREFIX:?OPTIONS``, generated on first use; None where there are none.
    """

    name: str
    kinds: tuple[DataKind, ...]
    commands: Callable[[], Mapping[Group, Callable[..., None]]] = _no_commands
    generated: Scheme[Any] | None = None
