"""``synthetic-radial:`` as a data root. May import: generate, options, data.synth.root, errors."""

from __future__ import annotations

from pathlib import Path

from portbev.data.radial.progress import Progress
from portbev.data.synth.radial.generate import generate
from portbev.data.synth.radial.options import RadialSynthOptions, from_query
from portbev.data.synth.root import cache_folder
from portbev.errors import ConfigError, DataError

SCHEME = "synthetic-radial:"


def is_synthetic(text: str) -> bool:
    """Whether a data root asks for generated recordings."""
    return text.startswith(SCHEME)


def parse_root(text: str) -> RadialSynthOptions:
    """Options of a root such as ``synthetic-radial:?sequences=8&frames=4&samples=64``.

    Raises:
        ConfigError: for another form, an unknown option (the nearest is named) or a bad value.
    """
    rest = text[len(SCHEME) :]
    if not is_synthetic(text) or (rest and not rest.startswith("?")):
        raise ConfigError(
            f"{text!r} is no synthetic RADIal data root",
            where="data root",
            cure=f"Write {SCHEME} or {SCHEME}?sequences=8&frames=4&seed=1",
        )
    return from_query(rest[1:])


def resolve_data_root(text: str, *, workers: int = 0, progress: bool | Progress = True) -> Path:
    """The folder of a generated data root, made in the cache on first use; several processes may ask at once.

    Raises:
        ConfigError: for a root that cannot be understood.
        DataError: when the cache cannot be written.
    """
    options = parse_root(text)
    try:
        return generate(cache_folder() / f"radial-{options.digest()}", options, workers=workers, progress=progress)
    except DataError as error:
        raise DataError(error.what, where=error.where, cure="PORTBEV_CACHE can name another cache folder") from error
