"""A configuration of another project, read: nested values, and what could not be read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass
class Source:
    """What a file says, with all that it inherits.

    Attributes:
        kind: ``config``: dictionaries at the top level, as mmcv's Config reads them. ``experiment``: a class whose
            attributes are the settings; ``values`` then has them by name, and ``optimizers`` (what its
            ``configure_optimizers`` makes), ``trainer`` (what the command line's defaults are set to), ``launch`` (what
            the file starts), ``bases`` (names of the class and those above it) and ``defined`` (classes of the files).
        used: names of the top level that other values took: helpers.
        notes: files that are missing, statements that were not followed.
    """

    path: Path
    kind: Literal["config", "experiment"]
    values: dict[str, Any]
    used: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


def read_source(path: Path | str) -> Source:
    """Read a Python configuration without executing it.

    Raises:
        ConfigError: no such file, no Python, or values that are no data; says where, and the cure.
    """
    from portbev.convert.experiment import is_experiment, read_experiment
    from portbev.convert.settings import read_settings

    path = Path(path)
    return read_experiment(path) if is_experiment(path) else read_settings(path)
