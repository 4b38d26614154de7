"""Names in archives: how they are written there, and which of them are no data."""

from __future__ import annotations

_MAC_FOLDER, _MAC_PREFIX, _LITTER = "__MACOSX", "._", (".DS_Store", "Thumbs.db")

READABLE = (".tar", ".tgz", ".tar.gz", ".zip")
"""Endings of archives that are read in place."""
OTHER = (".tar.bz2", ".tbz2", ".tbz", ".tar.xz", ".txz", ".tar.zst", ".tzst", ".tar.lz4", ".7z", ".rar")
"""Endings of archives that cannot be: they have no places to enter at."""


def is_archive(name: str) -> bool:
    """Whether a file has the name of an archive that is read in place."""
    return name.lower().endswith(READABLE) and not name.startswith(_MAC_PREFIX)


def is_other_archive(name: str) -> bool:
    """Whether a file has the name of an archive of another kind."""
    return name.lower().endswith(OTHER) and not name.startswith(_MAC_PREFIX)


def plain(name: str) -> str | None:
    """A member's path without ``./`` and a leading slash; None for what is no data or would lie outside."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    litter = parts and (parts[0] == _MAC_FOLDER or parts[-1].startswith(_MAC_PREFIX) or parts[-1] in _LITTER)
    if not parts or litter or ".." in parts:
        return None
    return "/".join(parts).encode("utf-8", "backslashreplace").decode()


def linked(folder: str, target: str) -> str:
    """The path that a symbolic link in a folder means."""
    parts = [] if target.startswith("/") else folder.split("/")
    for part in target.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/".join(part for part in parts if part)
