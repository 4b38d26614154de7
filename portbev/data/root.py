"""Data roots: existing folders, or data that is generated on first use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.data.cache import cache_folder
from portbev.data.generated.scheme import Scheme
from portbev.errors import DataError, PortbevError, nearest
from portbev.plugins import plugins

__all__ = ["cache_folder", "open_root"]


def open_root(text: str | Path | None) -> Path:
    """The folder of a data root.

    ``text`` is a folder or has the form ``PREFIX:?OPTIONS`` (``synthetic:?seed=1``). In the second case the data set
    whose scheme has that prefix generates the data on first use.

    Raises:
        DataError: there is no such folder.
        PortbevError: no data root was given, or the data cannot be generated.
    """
    if text is None or str(text) == "":
        generated = "".join(f", or --data-root {prefix} to generate data" for prefix in _schemes())
        raise PortbevError("no data root", cure=f"Give one: --data-root DIR{generated}")
    prefix, colon, query = str(text).partition(":")
    schemes = _schemes()
    if colon and prefix + colon in schemes:
        return schemes[prefix + colon].resolve(str(text))
    root = Path(text).expanduser()
    if root.is_dir():
        return root
    if colon and query[:1] in ("", "?"):
        raise DataError("no data set generates such a root", where=str(text), cure=nearest(prefix + colon, schemes))
    what = "is not a folder" if root.exists() else "no such data root"
    raise DataError(what, where=str(text), cure="Give the folder of the data set")


def lasting_root(text: str | Path) -> str:
    """``text`` as it means the same from anywhere: a folder written out; data that are generated keep their name."""
    prefix, colon, query = str(text).partition(":")
    named = colon and (prefix + colon in _schemes() or query[:1] in ("", "?"))  # also a prefix that is mistyped
    return str(text) if named else str(Path(text).expanduser().absolute())


def _schemes() -> dict[str, Scheme[Any]]:
    """The schemes of all data sets, by prefix."""
    generated = (data_set.generated for data_set in plugins().datasets().values())
    return {scheme.prefix: scheme for scheme in generated if scheme is not None}
