"""The folder for files that are derived from data."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs


def cache_folder() -> Path:
    """$PORTBEV_CACHE, or the user's cache folder. It is never inside a data root."""
    return Path(os.environ.get("PORTBEV_CACHE") or platformdirs.user_cache_dir("portbev")).expanduser()
