"""Documents of other commands that speak of the same devices, linked into the report with their hash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from portbev.digests import file_digest, json_digest
from portbev.errors import PortbevError
from portbev.parity.runs import EMULATED
from portbev.parity.seal import HASH, check_hash
from portbev.parity.verdicts import Evidence
from portbev.runs.reading import read_object

KINDS = {
    "portbev.parity-ops": "operators against their float64 definition",
    "portbev.dump": "one recorded step",
    "portbev.dump-comparison": "two recorded steps compared",
    "portbev.parity-bisect": "the cause of a difference",
    "portbev.parity-curves": "curves against control runs",
    "portbev.parity-report": "another parity report",
    "portbev.bench.ops": "operators timed",
    "portbev.bench.step": "steps timed",
    "portbev.bench.roofline": "limits of the device",
}
_HASHED = {
    **dict.fromkeys(("portbev.dump", "portbev.dump-comparison", "portbev.parity-bisect"), "hash"),
    **dict.fromkeys(("portbev.parity-ops", "portbev.parity-curves", "portbev.parity-report"), HASH),
}
"""The entry that holds the hash of a kind's content; benchmarks have none."""
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
    _check_hash_is_there(content, schema, path)
    backend, emulated = _backend(content)
    if backend is not None and emulated and EMULATED not in backend:
        backend = f"{backend} {EMULATED}"
    verdict = content.get("verdict", content.get("kind"))
    return Evidence(
        file=path.name if path.parent.name in ("", ".") else f"{path.parent.name}/{path.name}",
        schema_=schema,
        sha256=file_digest(path),
        what=KINDS.get(schema.rpartition("/")[0], schema),
        backend=backend,
        emulated=emulated,
        verdict=verdict if isinstance(verdict, str) else None,
        says=_says(content),
    )


def _check_hash_is_there(content: Mapping[str, Any], schema: str, path: Path) -> None:
    """What is written with a hash has it still; dumps, and what compares them, call it another name."""
    name = _HASHED.get(schema.rpartition("/")[0])
    if name is not None and not content.get(name):
        what = f"was edited after it was written: it has no {name} any more"
        raise PortbevError(what, where=str(path), cure="Make it again")
    if isinstance(content.get("hash"), str) and content["hash"] != json_digest(content, "hash"):
        raise PortbevError("was edited after it was written", where=str(path), cure="Make it again")


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
    """Where a document says that it was made; of two sides, both. Emulated if any of it was."""
    sides = [content[side] for side in ("a", "b") if isinstance(content.get(side), Mapping)]
    if sides:
        names = [_named(side.get("backend"), side.get("emulated") is True) for side in sides]
        return " against ".join(reversed(names)), any(side.get("emulated") is True for side in sides)
    run = content.get("run")
    section = run.get("backend") if isinstance(run, Mapping) else content.get("backend")
    if isinstance(section, Mapping):
        name, emulated = section.get("label", section.get("name")), section.get("emulated")
    else:
        name, emulated = section, content.get("emulated")
    return (name if isinstance(name, str) else None), (emulated if isinstance(emulated, bool) else None)


def _named(name: object, emulated: bool) -> str:
    text = str(name)
    return f"{text} {EMULATED}" if emulated and EMULATED not in text else text


def _says(content: Mapping[str, Any]) -> list[str]:
    """What a document concludes: its own words, or what its figures come to."""
    headline = content.get("headline")
    lines = [headline] if isinstance(headline, str) else []
    for key in ("says", "summary", "evidence"):
        value = content.get(key)
        if isinstance(value, str):
            return [*lines, value]
        if isinstance(value, Sequence) and all(isinstance(line, str) for line in value):
            return [*lines, *value]
    findings, rows = content.get("findings"), content.get("rows")
    if isinstance(findings, Sequence):
        causes = [f"{one.get('module')}: {one.get('operator')}" for one in findings if isinstance(one, Mapping)]
        return [*lines, f"{len(findings)} findings" + (f", the first in {causes[0]}" if causes else "")]
    if isinstance(rows, Sequence):
        return [*lines, *_timed([row for row in rows if isinstance(row, Mapping)])]
    return lines


def _timed(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """How near the device's measured limit the operators of a benchmark came."""
    shares = [
        result["of_limit"]
        for row in rows
        for direction in ("forward", "backward")
        for result in row.get(direction, {}).get("results", [])[:1]
        if isinstance(result.get("of_limit"), (int, float))
    ]
    if not shares:
        return []
    text = f"{len(shares)} timed calls reach {100 * min(shares):.0f} to {100 * max(shares):.0f} % of the measured limit"
    return [f"{text} of the device, half of them {100 * median(shares):.0f} % or more"]
