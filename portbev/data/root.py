"""Data roots: folders, archives read in place, URLs, several of these as one; or data generated on first use."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from portbev.data.cache import cache_folder
from portbev.data.generated.scheme import Scheme
from portbev.data.stores.store import Store, StorePath
from portbev.errors import DataError, PortbevError, nearest
from portbev.paths import DataPath, as_text, is_url, names_in, roots_in
from portbev.plugins import plugins

__all__ = ["cache_folder", "lasting_root", "open_root", "same_root"]
log = logging.getLogger("portbev.data")


def open_root(text: DataPath | str | None) -> DataPath:
    """The top of a data root.

    ``text`` is a folder, an archive, a URL, or a list of these (``[/data/a.tgz, /data/b]``); or it has the form
    ``PREFIX:?OPTIONS`` (``synthetic:?seed=1``), and the data set whose scheme has that prefix generates the data on
    first use. Archives at the top of a folder are read in place, unless they are unpacked beside it.

    Raises:
        DataError: there is no such folder or archive, or it cannot be used.
        PortbevError: no data root was given, the data cannot be generated, or a package is not installed.
    """
    if text is None or str(text) == "":
        generated = "".join(f", or --data-root {prefix} to generate data" for prefix in _schemes())
        raise PortbevError("no data root", cure=f"Give one: --data-root DIR{generated}")
    if isinstance(text, StorePath):
        return text
    prefix, colon, query = str(text).partition(":")
    schemes = _schemes()
    if colon and prefix + colon in schemes:
        return schemes[prefix + colon].resolve(str(text))
    roots = roots_in(str(text))
    if len(roots) == 1 and not is_url(roots[0]):
        root = Path(roots[0]).expanduser()
        if not root.exists() and colon and query[:1] in ("", "?"):
            raise DataError("no data set generates such a root", where=str(text), cure=nearest(prefix + colon, schemes))
    return _open(roots)


def _open(roots: list[str]) -> DataPath:
    from portbev.data.archives.found import archives_in, open_archives
    from portbev.data.archives.names import is_archive
    from portbev.data.stores.folder import Folder
    from portbev.data.stores.remote import Remote
    from portbev.data.stores.union import Union

    notes, folders, archives, remote = list[str](), list[Path](), list[Path](), list[Store]()
    named = False
    for root in roots:
        path = Path(root).expanduser()
        if is_url(root):
            remote.append(Remote(root))
            _refuse_archives(root, StorePath(remote[-1]))
        elif path.is_dir():
            folders.append(path)
            archives += archives_in(path, notes)
        elif path.is_file() and is_archive(path.name):
            archives.append(path)
            named = True
        else:
            what = "is not a folder or an archive" if path.exists() else "no such data root"
            raise DataError(what, where=root, cure="Give the folder of the data set")
    for note in notes:
        log.warning("%s", note)
    if not archives and len(folders) + len(remote) == 1:
        return folders[0] if folders else StorePath(remote[0])
    count = len(notes)
    whole = named or not any(_looks_like(folder) for folder in folders)
    opened = open_archives(archives, _looks_like, whole=whole, notes=notes)
    for note in notes[count:]:
        log.warning("%s", note)
    if not opened and len(folders) == 1 and not remote:
        return folders[0]
    hidden = frozenset(path.name for path in archives)
    stores: list[Store] = [*(Folder(folder, hidden) for folder in folders), *opened, *remote]
    tops = [str(Path(root).expanduser().absolute()) if not is_url(root) else root for root in roots]
    union = Union(stores, as_text(tops), tops[0])
    union.notes += notes
    return StorePath(union)


def _refuse_archives(url: str, root: DataPath) -> None:
    from portbev.data.archives.names import is_archive

    packed = sorted(name for name in names_in(root) if is_archive(name))
    if packed and not _looks_like(root):
        what = f"holds archives ({packed[0]}{' and others' if packed[1:] else ''}), which are read from a disk alone"
        raise DataError(what, where=url, cure="Copy those that portbev data fetch-plan names, and give their folder")


def _looks_like(folder: DataPath) -> bool:
    """Whether a folder looks like a root of some data set, or a part of one."""
    return any(data_set.looks_like(folder) for data_set in plugins().datasets().values())


def lasting_root(text: DataPath | str) -> str:
    """``text`` as it means the same from anywhere: folders written out; URLs and generated data keep their name."""
    lasting = []
    for root in roots_in(str(text)):
        prefix, colon, query = root.partition(":")
        named = colon and (prefix + colon in _schemes() or query[:1] in ("", "?"))  # also a prefix that is mistyped
        lasting.append(root if named or is_url(root) else str(Path(root).expanduser().absolute()))
    return as_text(lasting)


def same_root(one: DataPath, other: str) -> bool:
    """Whether ``other`` names the root ``one``."""
    if isinstance(one, StorePath):
        return str(one) == lasting_root(other)
    return str(one.resolve()) == str(Path(other).expanduser().resolve())


def root_notes(root: DataPath) -> list[str]:
    """What was passed over in a data root, or read in another way than usual."""
    return list(root.store.notes) if isinstance(root, StorePath) else []


def _schemes() -> dict[str, Scheme[Any]]:
    """The schemes of all data sets, by prefix."""
    generated = (data_set.generated for data_set in plugins().datasets().values())
    return {scheme.prefix: scheme for scheme in generated if scheme is not None}
