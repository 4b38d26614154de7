"""Where data and derived files are."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from portbev.errors import DataError, PortbevError


def open_root(text: str | Path | None) -> Path:
    """The folder of a data root: one that exists, or one that is generated on first use.

    ``synthetic:?scenes=40&seed=1`` is nuScenes data, ``synthetic-radial:?sequences=8&seed=1`` RADIal recordings.

    Raises:
        DataError: there is no such folder.
        PortbevError: no data root was given, or the synthetic one cannot be made.
    """
    if text is None or str(text) == "":
        raise PortbevError("no data root", cure="Give one: --data-root DIR, or --data-root synthetic: to generate data")
    if str(text).startswith("synthetic:"):
        from portbev_nuscenes.synth import resolve_data_root

        return resolve_data_root(str(text))
    if str(text).startswith("synthetic-radial:"):
        from portbev_radial.synth import resolve_data_root as resolve_radial_root

        return resolve_radial_root(str(text))
    root = Path(text).expanduser()
    if not root.is_dir():
        what = "is not a folder" if root.exists() else "no such data root"
        raise DataError(what, where=str(text), cure="Give the folder that holds the version folder and samples/")
    return root


def cache_folder() -> Path:
    """Folder for what is derived from data: $PORTBEV_CACHE, or the user's cache folder. Never inside a data root."""
    return Path(os.environ.get("PORTBEV_CACHE") or platformdirs.user_cache_dir("portbev")).expanduser()
