"""Which archives of a data set's release a split needs, and which of them a data root lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, Protocol

from portbev.data.root import open_root, root_notes
from portbev.data.stores.store import StorePath
from portbev.errors import ConfigError, PortbevError, nearest
from portbev.paths import DataPath, is_url, names_in, roots_in
from portbev.plugins import plugins

State = Literal["", "there", "unpacked", "not needed", "missing"]


@dataclass(frozen=True)
class Piece:
    """A file of a release.

    Attributes:
        name: as it is published.
        holds: what is in it, in a few words.
        gigabytes: its size as published; None: not known.
        optional: whether training goes without it.
        same: patterns of other files that hold what is needed of it.
        shown_by: patterns of paths in a root that show that it is unpacked.
        sensors: whether it holds sensor files, which are looked for one by one where a root's tables name them.
    """

    name: str
    holds: str
    gigabytes: float | None = None
    optional: bool = False
    same: tuple[str, ...] = ()
    shown_by: tuple[str, ...] = ()
    sensors: bool = False


class Fetching(Protocol):
    """What a data set knows of its release.

    Attributes:
        versions: names of its versions.
        source: where the sizes are from.
    """

    @property
    def versions(self) -> tuple[str, ...]: ...

    @property
    def source(self) -> str: ...

    def pieces(self, version: str, splits: Sequence[str]) -> list[Piece]:
        """The files of the release that splits need. Raises ConfigError for a split of another version."""
        ...

    def files(self, root: DataPath, version: str, splits: Sequence[str], section: Any) -> list[str]:
        """Paths of the sensor files that splits need, by the tables in a root; none where it has no tables."""
        ...


@dataclass(frozen=True)
class Plan:
    """What is to be fetched.

    Attributes:
        data_set, version, splits: what for.
        pieces: the files of the release, and of each whether the root has it.
        source: where the sizes are from.
        wanted, present: sensor files that the root's tables name, and those of them that are there.
        holding: how many of these each archive of the root holds.
        notes: what was passed over in the root.
    """

    data_set: str
    version: str
    splits: tuple[str, ...]
    pieces: tuple[tuple[Piece, State], ...]
    source: str
    wanted: int = 0
    present: int = 0
    holding: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def missing(self) -> list[Piece]:
        """The pieces that are missing and needed."""
        return [piece for piece, state in self.pieces if state in ("", "missing") and not piece.optional]


def plan(data_set: str, version: str, splits: Sequence[str], *, root: str | None = None, section: Any = None) -> Plan:
    """The plan for splits of a version.

    Args:
        data_set: its name; empty: the one that has such a version.
        root: a data root, in which what is there is looked for.
        section: the ``data`` section of a configuration; its sensors count.

    Raises:
        ConfigError: no such data set, version or split.
        DataError: the root cannot be used.
    """
    name, fetching = _known(data_set, version)
    pieces = fetching.pieces(version, splits)
    if root is None:
        states: list[State] = ["" for _ in pieces]
        return Plan(name, version, tuple(splits), tuple(zip(pieces, states, strict=True)), fetching.source)
    opened = open_root(root)
    beside = _names_beside(root)
    files = fetching.files(opened, version, splits, section)
    holding, present = _holders(opened, files)
    whole = bool(files) and present == len(files)
    found = tuple((piece, _state(piece, opened, beside, whole)) for piece in pieces)
    notes = tuple(root_notes(opened))
    return Plan(name, version, tuple(splits), found, fetching.source, len(files), present, holding, notes)


def missing_archives(data_set: str, text: str, root: DataPath, version: str) -> list[str]:
    """A line that names the archives of a version which a root of archives lacks; none for other roots and versions.

    Args:
        text: names the root.
        root: the same, opened.
    """
    one = plugins().datasets()[data_set].fetching
    if one is None or version not in one().versions or not isinstance(root, StorePath):
        return []
    beside = _names_beside(text)
    lacking = [piece.name for piece in one().pieces(version, ()) if _state(piece, root, beside, False) == "missing"]
    return [f"archives of {version} that are not here: {', '.join(lacking)}"] if lacking else []


def _known(data_set: str, version: str) -> tuple[str, Fetching]:
    known = {one.name: one.fetching() for one in plugins().datasets().values() if one.fetching is not None}
    if data_set:
        if data_set not in known:
            raise ConfigError(f"no release of {data_set!r} is known", cure=nearest(data_set, known, label="Known"))
        if version not in known[data_set].versions:
            cure = nearest(version, known[data_set].versions, label=f"Versions of {data_set}")
            raise ConfigError(f"no version {version!r} was published", where="--version", cure=cure)
        return data_set, known[data_set]
    for name, fetching in known.items():
        if version in fetching.versions:
            return name, fetching
    versions = [version for fetching in known.values() for version in fetching.versions]
    raise ConfigError(f"no version {version!r} was published", where="--version", cure=nearest(version, versions))


def _names_beside(root: str) -> set[str]:
    """Names of the archives of a root, and of what lies at the top of its folders."""
    names: set[str] = set()
    for one in roots_in(root):
        path = Path(one).expanduser()
        if not is_url(one):
            names |= names_in(path) if path.is_dir() else {path.name}
    return names


def _holders(root: DataPath, files: Sequence[str]) -> tuple[dict[str, int], int]:
    """How many files each archive of a root holds, and how many are there at all."""
    from portbev.data.archives.store import Archive

    if not isinstance(root, StorePath):
        listed: dict[str, frozenset[str]] = {}
        for file in files:
            folder = file.rpartition("/")[0]
            if folder not in listed:
                listed[folder] = names_in(root / folder)
        return {}, sum(file.rpartition("/")[2] in listed[file.rpartition("/")[0]] for file in files)
    holding: dict[str, int] = {}
    present = 0
    for file in files:
        entry = root.store.find(file)
        present += entry is not None
        if entry is not None and isinstance(entry.place, tuple) and isinstance(entry.place[0], Archive):
            archive = entry.place[0].path.name
            holding[archive] = holding.get(archive, 0) + 1
    return holding, present


def _state(piece: Piece, root: DataPath, beside: set[str], whole: bool) -> State:
    patterns = (piece.name, *piece.same)
    if any(fnmatch(name.lower(), pattern.lower()) for name in beside for pattern in patterns):
        return "there"
    if piece.sensors and whole:
        return "not needed"
    for pattern in piece.shown_by:
        folder, _, name = pattern.rpartition("/")
        try:
            if any(fnmatch(found.lower(), name.lower()) for found in names_in(root / folder)):
                return "unpacked"
        except PortbevError:
            continue
    return "missing"
