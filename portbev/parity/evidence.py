"""Documents of other commands that speak of the same devices, linked into the report with their hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from portbev.errors import PortbevError
from portbev.parity.runs import EMULATED
from portbev.parity.seal import check_hash, file_hash
from portbev.parity.verdicts import Evidence
from portbev.runs.reading import read_object

KINDS = {
    "portbev.parity-ops": "operators against their float64 definition",
    "portbev.dump": "one recorded step",
    "portbev.parity-compare": "two recorded steps compared",
    "portbev.parity-bisect": "the cause of a difference",
    "portbev.parity-curves": "curves against control runs",
    "portbev.parity-report": "another parity report",
    "portbev.bench.ops": "operators timed",
    "portbev.bench.step": "steps timed",
    "portbev.bench.roofline": "limits of the device",
}
_HEADERS = ("header.json", "ops.json", "compare.json", "bisect.json", "curves.json", "report.json")


def read_evidence(path: Path | str) -> Evidence:
    """A JSON document of portbev's, or the one in a folder that such a command wrote.

    Raises:
        PortbevError: not readable, truncated, edited after it was written, or no document of portbev's.
    """
    path = _document(Path(path))
    content = read_object(path)
    schema = content.get("schema")
    if not isinstance(schema, str) or not schema.startswith("portbev."):
        raise PortbevError(
            "is no evidence: it names no schema of portbev's",
            where=str(path),
            cure="Name a JSON file that a command of portbev parity or portbev bench wrote",
        )
    check_hash(content, path)
    backend, emulated = _backend(content)
    if backend is not None and emulated and EMULATED not in backend:
        backend = f"{backend} {EMULATED}"
    verdict = content.get("verdict")
    return Evidence(
        file=path.name if path.parent.name in ("", ".") else f"{path.parent.name}/{path.name}",
        schema_=schema,
        sha256=file_hash(path),
        what=KINDS.get(schema.rpartition("/")[0], schema),
        backend=backend,
        emulated=emulated,
        verdict=verdict if isinstance(verdict, str) else None,
        says=_says(content),
    )


def _document(path: Path) -> Path:
    if not path.is_dir():
        return path
    found = [path / name for name in _HEADERS if (path / name).is_file()]
    if not found:
        raise PortbevError(
            "is a folder without evidence", where=str(path), cure=f"It should hold one of {', '.join(_HEADERS)}"
        )
    return found[0]


def _backend(content: Mapping[str, Any]) -> tuple[str | None, bool | None]:
    """What a document says of where it was made: in a section of its own, or at its top."""
    section = content.get("backend")
    if isinstance(section, Mapping):
        name, emulated = section.get("label", section.get("name")), section.get("emulated")
    else:
        name, emulated = section, content.get("emulated")
    return (name if isinstance(name, str) else None), (emulated if isinstance(emulated, bool) else None)


def _says(content: Mapping[str, Any]) -> list[str]:
    for key in ("says", "summary", "evidence", "lines"):
        value = content.get(key)
        if isinstance(value, str):
            return [value]
        if isinstance(value, Sequence) and all(isinstance(line, str) for line in value):
            return list(value)
    return []
