"""Which data roots are generated data, and with which options."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from portbev.config import RunConfig
from portbev.data.generated.options import GeneratedOptions
from portbev.data.generated.scheme import Scheme
from portbev.plugins import plugins


class Generated(NamedTuple):
    """Generated data: their scheme, their options, and their folder; None where they are not generated yet."""

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
    schemes = [found.generated for found in plugins().datasets().values() if found.generated is not None]
    for scheme in schemes:
        if scheme.matches(source):
            return Generated(scheme, scheme.parse(source), None)
    folder = Path(source).expanduser()
    found = ((scheme, scheme.read(folder)) for scheme in schemes)
    return next((Generated(scheme, options, folder) for scheme, options in found if options is not None), None)
