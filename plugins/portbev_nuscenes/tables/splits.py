"""The nuScenes splits: the official ones, and custom ones from a data set's ``splits.json``.

A split is a list of scene names.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from portbev.errors import DataError
from portbev.files import parse_json
from portbev.paths import DataPath, as_path
from portbev_nuscenes.tables.jsonrows import read_rows, table_names
from portbev_nuscenes.tables.rows import Named

_RANGES: Final = {
    "train": (
        "1-2 4-11 19-34 41-76 120-135 138-139 149-152 154-155 157-168 170-185 187-188 190-196 199-200 202-204 206-214 "
        "218-220 222 224-264 283-306 315-318 321 323-324 328 347-386 388-403 405-408 410-459 461-465 467-469 471-472 "
        "474-480 499-502 504-515 517-518 525-539 541-546 566 568 570-578 580 582-600 639-679 681 683-689 695-698 "
        "700-701 703-719 726-728 730-731 733-741 744 746-747 749-752 757-765 767-769 786-787 789-792 803-806 808-813 "
        "815-817 819-822 847-856 858 860-866 868-873 875-878 880 882-903 945 947 949 952-953 955-961 975-984 988-992 "
        "994-1025 1044-1058 1074-1102 1104-1110"
    ),
    "val": (
        "3 12-18 35-36 38-39 92-110 221 268-278 329-332 344-346 519-524 552-565 625-627 629-630 632-638 770-771 775 "
        "777-778 780-784 794-800 802 904-917 919-931 962-963 966-969 971-972 1059-1073"
    ),
    "test": (
        "77-91 111-119 140 142-148 265-266 279-282 307-314 333-343 481-498 547-551 601-604 606-624 827-831 833-842 "
        "844-846 932-933 935-943 1026-1043"
    ),
    "train_detect": (
        "1-2 41-76 161-168 170-176 190-196 199-200 202-204 206-214 254-264 283-306 315-318 321 323-324 347-375 382 "
        "420-439 457-459 461-465 467-469 471-472 474-480 566 568 570-578 580 582-583 665-679 681 683-689 739-741 744 "
        "746-747 749-752 757-765 767-769 868-873 875-878 880 882-903 945 947 949 952-953 955-961 975-984 988-991 "
        "1011-1025 1074-1102 1104-1105"
    ),
    "train_track": (
        "4-11 19-34 120-135 138-139 149-152 154-155 157-160 177-185 187-188 218-220 222 224-253 328 376-381 383-386 "
        "388-403 405-408 410-419 440-456 499-502 504-515 517-518 525-539 541-546 584-600 639-664 695-698 700-701 "
        "703-719 726-728 730-731 733-738 786-787 789-792 803-806 808-813 815-817 819-822 847-856 858 860-866 992 "
        "994-1010 1044-1058 1106-1110"
    ),
    "mini_train": "61 553 655 757 796 1077 1094 1100",
    "mini_val": "103 916",
}

VERSION_OF: Final = MappingProxyType(
    {
        "train": "trainval",
        "val": "trainval",
        "train_detect": "trainval",
        "train_track": "trainval",
        "test": "test",
        "mini_train": "mini",
        "mini_val": "mini",
    }
)
"""Official split -> the ending that the name of the table folder (``v1.0-...``) must have."""


def _expand(ranges: str) -> tuple[str, ...]:
    """Scene names of ranges of scene numbers such as ``1-2 4-11``."""
    names = []
    for part in ranges.split():
        first, _, last = part.partition("-")
        names += [f"scene-{number:04d}" for number in range(int(first), int(last or first) + 1)]
    return tuple(names)


OFFICIAL_SPLITS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {split: _expand(ranges) for split, ranges in _RANGES.items()}
)
"""Official split -> its scene names (train 700, val 150, test 150, mini_train 8, mini_val 2)."""


def is_official(split: str) -> bool:
    """Whether ``split`` is an official split of nuScenes; results must cover exactly its samples."""
    return split in OFFICIAL_SPLITS


FILE: Final = "splits.json"


class OwnSplit(NamedTuple):
    """Scene names of a split of one's own, and the file that lists them."""

    scenes: tuple[str, ...]
    path: DataPath


class Split(NamedTuple):
    """A split as it is meant in one version: its scene names, and what is worth a note."""

    scenes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def scene_names(split: str, data_root: DataPath | str, version: str) -> tuple[str, ...]:
    """Scene names of a split: see :func:`find_split`."""
    return find_split(split, data_root, version).scenes


def find_split(split: str, data_root: DataPath | str, version: str) -> Split:
    """A split of a version: an official one, or one of ``splits.json`` in the version's folder or else in the root.

    Of two splits with one name, that of the version's folder comes before that of the root. An official one comes
    before both where the version's name says that it holds it and one of its scenes is there.

    Raises:
        DataError: an official split of another version, or an unknown split; lists those that can be used.
    """
    root, own = as_path(data_root), own_splits(data_root, version)
    official = OFFICIAL_SPLITS.get(split)
    fits = official is not None and version.endswith(VERSION_OF[split])
    if official is not None and fits and (split not in own or scenes_of(root, version) & {*official}):
        clash = split in own and {*own[split].scenes} != {*official}
        return Split(official, (f"split {split} is the official one, not that of {own[split].path}",) if clash else ())
    if split in own:
        scenes, path = own[split]
        notes = [f"split {split} is that of {path}"] if path.parent == root or official is not None else []
        if official is not None:
            notes[0] += f", because {version} does not hold the official one"
        return Split(scenes, tuple(notes))
    what = f"unknown split {split!r}"
    if official is not None:
        what = f"split {split!r} belongs to a version that ends with {VERSION_OF[split]!r}, not to {version!r}"
    raise DataError(what, where=str(root / version / FILE), cure=other_splits(split, root, version))


def own_splits(data_root: DataPath | str, version: str) -> dict[str, OwnSplit]:
    """The splits of ``splits.json`` in the root and in the version's folder, which comes first.

    Raises:
        DataError: a file that is not of the right form.
    """
    root = as_path(data_root)
    paths = (root / FILE, root / version / FILE)
    return {name: OwnSplit(scenes, path) for path in paths for name, scenes in read_custom_splits(path).items()}


def scenes_of(root: DataPath, version: str) -> set[str]:
    """Names of the scenes in a version."""
    return set(table_names(read_rows(root / version / "scene.json", Named)).values())


def usable_splits(root: DataPath, version: str) -> dict[str, int]:
    """The splits of which a version holds scenes, with their number: official ones that it may hold, and its own."""
    here, own = scenes_of(root, version), own_splits(root, version)
    official = {name: names for name, names in OFFICIAL_SPLITS.items() if version.endswith(VERSION_OF[name])}
    found = {name: len(here & {*names}) for name, (names, _) in own.items()}
    found.update((name, count) for name, names in official.items() if (count := len(here & {*names})))
    return {name: count for name, count in found.items() if count}


def other_splits(split: str, root: DataPath, version: str) -> str:
    """The cure for a split that is not there: the nearest, and all that a version holds scenes of."""
    try:
        usable = usable_splits(root, version)
    except DataError:
        usable = {}
    if not usable:
        path = root / version / FILE
        return f'{version} holds scenes of no known split: name some of its scenes in {path}, {{"mine": ["SCENE"]}}'
    near = difflib.get_close_matches(split, usable, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return f"{hint}Splits of {version}: " + ", ".join(f"{name} ({count} scenes)" for name, count in usable.items())


def read_custom_splits(path: DataPath | str) -> dict[str, tuple[str, ...]]:
    """The splits of a ``splits.json`` (``{"split": ["scene name", ...]}``); none where the file is absent.

    Raises:
        DataError: a file that is not of this form.
    """
    path = as_path(path)
    if not path.is_file():
        return {}
    try:
        raw = parse_json(path.read_bytes())
    except ValueError as error:
        raise DataError(f"not valid JSON ({error})", where=str(path)) from error
    well_formed = isinstance(raw, dict) and all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in raw.values()
    )
    if not well_formed:
        raise DataError('not of the form {"split": ["scene name", ...]}', where=str(path))
    return {split: tuple(names) for split, names in raw.items()}
