"""``synthetic:`` as a data root. May import: generate, options, errors."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from portbev.data.synth.generate import Progress, generate
from portbev.data.synth.options import SynthOptions, from_query
from portbev.errors import ConfigError, DataError

SCHEME = "synthetic:"


def is_synthetic(text: str) -> bool:
    """Whether a data root asks for synthetic data."""
    return text.startswith(SCHEME)


def parse_root(text: str) -> SynthOptions:
    """Options of a root such as ``synthetic:?scenes=40&seed=1&image_size=480x270``.

    Raises:
        ConfigError: for another form, an unknown option (the nearest is named) or a bad value.
    """
    rest = text[len(SCHEME) :]
    if not is_synthetic(text) or (rest and not rest.startswith("?")):
        raise ConfigError(
            f"{text!r} is no synthetic data root",
            where="data root",
            cure="Write synthetic: or synthetic:?scenes=40&seed=1",
        )
    return from_query(rest[1:])


def resolve_data_root(text: str, *, workers: int = 0, progress: bool | Progress = True) -> Path:
    """The folder of a synthetic data root, generated into the cache on first use.

    Several processes may ask at once: one generates, the others wait.

    Raises:
        ConfigError: for a root that cannot be understood.
        DataError: when the cache cannot be written.
    """
    options = parse_root(text)
    folder = cache_folder() / f"nuscenes-{options.digest()}"
    try:
        return generate(folder, options, workers=workers, progress=progress)
    except DataError as error:
        raise DataError(error.what, where=error.where, cure="PORTBEV_CACHE can name another cache folder") from error


def cache_folder() -> Path:
    """``synthetic`` in $PORTBEV_CACHE or in the user's cache folder."""
    base = os.environ.get("PORTBEV_CACHE") or platformdirs.user_cache_dir("portbev")
    return Path(base) / "synthetic"
