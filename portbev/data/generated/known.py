"""Which data roots are generated data, and with which options."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from portbev.config import RunConfig
from portbev.data.generated.options import GeneratedOptions
from portbev.data.generated.scheme import Scheme
from portbev.data.kinds import DataSet
from portbev.plugins import plugins


class Generated(NamedTuple):
    """Generated data: whose, their scheme and options, and their folder; None where they are not generated yet."""

    data_set: DataSet
    scheme: Scheme[Any]
    options: GeneratedOptions
    folder: Path | None

    def needs(self, config: RunConfig) -> dict[str, Any]:
        """What ``config`` must say of ``data`` to train on these data and does not: key -> value."""
        return self.scheme.needs(self.options, config, self.folder)

    def training_samples(self) -> int | None:
        """Training samples, at least; None if that is not known."""
        count = self.scheme.training_samples
        return None if count is None else count(self.options)


def generated(source: str | None) -> Generated | None:
    """What the data root ``source`` holds or will hold, if it is generated data.

    Raises:
        ConfigError: it has the form ``PREFIX:?OPTIONS``, and an option is unknown or wrong.
    """
    if not source:
        return None
    for data_set in plugins().datasets().values():
        scheme = data_set.generated
        if scheme is None:
            continue
        if scheme.matches(source):
            return Generated(data_set, scheme, scheme.parse(source), None)
        folder = Path(source).expanduser()
        options = scheme.read(folder)
        if options is not None:
            return Generated(data_set, scheme, options, folder)
    return None


def prefix_of(kind: str) -> str:
    """The data root that generates data of this ``data.kind``; empty if none does."""
    for data_set in plugins().datasets().values():
        if data_set.generated is not None and kind in [one.name for one in data_set.kinds]:
            return data_set.generated.prefix
    return ""
