"""Data roots that are generated on first use (``synthetic:?scenes=40``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from portbev.data.cache import cache_folder
from portbev.data.generated.growing import read_manifest
from portbev.data.generated.options import GeneratedOptions
from portbev.data.progress import Progress
from portbev.errors import ConfigError, DataError

if TYPE_CHECKING:
    from portbev.config import RunConfig

OptionsT = TypeVar("OptionsT", bound=GeneratedOptions)


def _nothing(options: Any, config: RunConfig, root: Path | None) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Scheme(Generic[OptionsT]):
    """The data roots of one generated data set.

    Attributes:
        prefix: prefix of such data roots, with the colon.
        folder: prefix of the names of its folders in the cache.
        example: an example of a query, for messages.
        options: all options that determine the data.
        generate: generates the data set in a folder: ``generate(folder, options, workers=, progress=)``.
        needs: what a configuration must say of ``data`` to train on such data and does not: key -> value, for
            ``needs(options, config, folder)``, without a folder where the data are not generated yet.
        training_samples: how many there are in the split that ``needs`` names for training, at least.
    """

    prefix: str
    folder: str
    example: str
    options: type[OptionsT]
    generate: Callable[..., Path]
    needs: Callable[[OptionsT, RunConfig, Path | None], dict[str, Any]] = _nothing
    training_samples: Callable[[OptionsT], int] | None = None

    def matches(self, text: str) -> bool:
        """Whether a data root belongs to this scheme."""
        return text.startswith(self.prefix)

    def parse(self, text: str) -> OptionsT:
        """The options of a data root, which is the prefix, or the prefix, ``?`` and a query.

        Raises:
            ConfigError: the root has another form, an option is unknown (the nearest is named), or a value is wrong.
        """
        rest = text[len(self.prefix) :]
        if not self.matches(text) or (rest and not rest.startswith("?")):
            cure = f"Write {self.prefix} or {self.prefix}?{self.example}"
            raise ConfigError(f"{text!r} is no synthetic data root", where="data root", cure=cure)
        return self.options.from_query(rest[1:])

    def read(self, folder: Path) -> OptionsT | None:
        """The options of a folder that was generated; None for any other folder."""
        manifest = read_manifest(folder) or {}
        if manifest.get("format") != self.options.format or not isinstance(manifest.get("options"), dict):
            return None
        try:
            return self.options.from_dict(manifest["options"])
        except (ConfigError, TypeError, ValueError):  # of another version, or edited
            return None

    def resolve(self, text: str, *, workers: int = 0, progress: bool | Progress = True) -> Path:
        """The folder of a data root, which is generated in the cache on first use.

        Several processes can call it at once: one of them generates the data, the others wait.

        Raises:
            ConfigError: the root is not valid, see :meth:`parse`.
            DataError: the cache cannot be written.
        """
        options = self.parse(text)
        folder = cache_folder() / "synthetic" / f"{self.folder}-{options.digest()}"
        try:
            return self.generate(folder, options, workers=workers, progress=progress)
        except DataError as error:
            raise DataError(
                error.what, where=error.where, cure="PORTBEV_CACHE can name another cache folder"
            ) from error
