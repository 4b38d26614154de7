"""``checksums.json``: the hashes of a report's files, so that an edited page or table is seen."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import ConfigDict, Field

from portbev.digests import file_digest
from portbev.errors import PortbevError
from portbev.files import write_json
from portbev.parity.verdicts import Part
from portbev.runs.reading import read_as

CHECKSUMS = "checksums.json"
SCHEMA = "portbev.checksums/1"


class Checksums(Part):
    """``report``: content hash of ``report.json``; ``files``: name -> SHA-256 of the other forms."""

    schema_: Literal["portbev.checksums/1"] = Field(default="portbev.checksums/1", alias="schema")
    report: str
    files: dict[str, str]

    model_config = ConfigDict(extra="forbid", populate_by_name=True, serialize_by_alias=True)


def write_checksums(folder: Path, report: str, files: Iterable[Path]) -> Path:
    """Write the hashes of ``files`` beside them."""
    content = Checksums(report=report, files={path.name: file_digest(path) for path in sorted(files)})
    write_json(folder / CHECKSUMS, content.model_dump(by_alias=True))
    return folder / CHECKSUMS


def check_files(folder: Path, report: str) -> list[str]:
    """The names of the files that were checked; none where there are no checksums.

    Raises:
        PortbevError: a file is gone or not what was written, or they are those of another report.
    """
    if not (folder / CHECKSUMS).is_file():
        return []
    content = read_as(Checksums, folder / CHECKSUMS, SCHEMA)
    cure = "Make the report again: portbev parity report"
    if content.report != report:
        raise PortbevError("are those of another report", where=str(folder / CHECKSUMS), cure=cure)
    for name, digest in content.files.items():
        if not (folder / name).is_file():
            raise PortbevError("is gone", where=str(folder / name), cure=cure)
        if file_digest(folder / name) != digest:
            raise PortbevError("was edited after it was written", where=str(folder / name), cure=cure)
    return list(content.files)
