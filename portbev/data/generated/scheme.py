"""Data roots that are generated on first use (``synthetic:?scenes=40``)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from portbev.data.cache import cache_folder
from portbev.data.generated.options import GeneratedOptions
from portbev.data.progress import Progress
from portbev.errors import ConfigError, DataError

OptionsT = TypeVar("OptionsT", bound=GeneratedOptions)


@dataclass(frozen=True)
class Scheme(Generic[OptionsT]):
    """A kind of generated data root.

    Attributes:
        prefix: what such roots start with, with the colon.
        folder: first part of the names of its folders in the cache.
        example: a query, for messages.
        options: everything that decides the bytes.
        generate: makes the data set.
    """

    prefix: str
    folder: str
    example: str
    options: type[OptionsT]
    generate: Callable[..., Path]

    def is_mine(self, text: str) -> bool:
        """Whether a data root asks for data of this kind."""
        return text.startswith(self.prefix)

    def parse(self, text: str) -> OptionsT:
        """Options of a root: the prefix, and a query behind ``?`` if there is any.

        Raises:
            ConfigError: for another form, an unknown option (the nearest is named) or a bad value.
        """
        rest = text[len(self.prefix) :]
        if not self.is_mine(text) or (rest and not rest.startswith("?")):
            cure = f"Write {self.prefix} or {self.prefix}?{self.example}"
            raise ConfigError(f"{text!r} is no synthetic data root", where="data root", cure=cure)
        return self.options.from_query(rest[1:])

    def resolve(self, text: str, *, workers: int = 0, progress: bool | Progress = True) -> Path:
        """The folder of a root, generated into the cache on first use.

        Several processes may ask at once: one generates, the others wait.

        Raises:
            ConfigError: for a root that cannot be understood.
            DataError: when the cache cannot be written.
        """
        options = self.parse(text)
        folder = cache_folder() / "synthetic" / f"{self.folder}-{options.digest()}"
        try:
            return self.generate(folder, options, workers=workers, progress=progress)
        except DataError as error:
            raise DataError(
                error.what, where=error.where, cure="PORTBEV_CACHE can name another cache folder"
            ) from error
