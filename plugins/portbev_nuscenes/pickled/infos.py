"""Files of infos: what mmdet3d's, BEVFormer's and BEVDepth's converters made of nuScenes' tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from portbev.errors import CheckpointError, DataError
from portbev.tensorfiles.reading import read_file

Form = Literal["mmdet3d-0", "mmdet3d-1", "bevdepth"]
FORMS: dict[Form, str] = {
    "mmdet3d-0": "infos and metadata, as mmdet3d 0.x and 1.0.0rc write them, and BEVFormer",
    "mmdet3d-1": "data_list and metainfo, as mmdet3d 1.1 and later write them",
    "bevdepth": "a list with cam_infos and ann_infos, as BEVDepth's gen_info.py writes it",
}
_CURE = "Give a file of infos of nuScenes: infos_*.pkl of mmdet3d, BEVFormer or BEVDepth"


@dataclass(frozen=True)
class Infos:
    """A file of infos.

    Attributes:
        path: the file.
        form: who wrote it.
        entries: one for each sample, in the file's order.
        meta: what it says of itself.
    """

    path: Path
    form: Form
    entries: list[Mapping[str, Any]]
    meta: Mapping[str, Any]

    def token(self, entry: Mapping[str, Any]) -> str:
        """The token of an entry's sample."""
        return str(entry["sample_token" if self.form == "bevdepth" else "token"])

    def by_time(self) -> list[Mapping[str, Any]]:
        """The entries as mmdet3d's data sets order them: by time, those of one time as in the file."""
        return sorted(self.entries, key=lambda entry: float(entry["timestamp"]))


def read_infos(path: Path) -> Infos:
    """Read a file of infos; nothing in it is executed.

    Raises:
        DataError: damaged, or another kind of file; says what it holds.
    """
    try:
        content = read_file(path)
    except CheckpointError as error:
        raise DataError(error.what, where=error.where, cure=error.cure) from error
    form, entries, meta = _parts(content, str(path))
    for number, entry in enumerate(entries):
        place = f"{path}: entry {number}"
        if not isinstance(entry, Mapping):
            raise DataError("is no mapping", where=place, cure=_CURE)
        name = "sample_token" if form == "bevdepth" else "token"
        if not isinstance(entry.get(name), str) or not _is_number(entry.get("timestamp")):
            raise DataError(f"has no {name} or no timestamp", where=place, cure=_CURE)
    return Infos(path, form, list(entries), meta)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _parts(content: object, where: str) -> tuple[Form, Sequence[Any], Mapping[str, Any]]:
    if isinstance(content, Mapping):
        meta = content.get("metadata", content.get("metainfo", {}))
        meta = meta if isinstance(meta, Mapping) else {}
        if isinstance(content.get("infos"), Sequence):
            return "mmdet3d-0", content["infos"], meta
        if isinstance(content.get("data_list"), Sequence):
            return "mmdet3d-1", content["data_list"], meta
        keys = ", ".join(str(key) for key in list(content)[:5])
        raise DataError(f"is no file of infos: it holds {keys or 'nothing'}", where=where, cure=_CURE)
    if isinstance(content, Sequence) and not isinstance(content, (str, bytes)) and content:
        first = content[0]
        if isinstance(first, Mapping) and "cam_infos" in first:
            return "bevdepth", content, {}
        if isinstance(first, Mapping) and "token" in first:
            return "mmdet3d-0", content, {}
        keys = ", ".join(str(key) for key in list(first)[:5]) if isinstance(first, Mapping) else type(first).__name__
        raise DataError(f"is no file of infos of nuScenes: its entries have {keys}", where=where, cure=_CURE)
    raise DataError(f"is no file of infos: a {type(content).__name__}", where=where, cure=_CURE)
