"""Reading a dump, after checking that it is whole, unaltered and of this version."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from portbev.errors import PortbevError
from portbev.files import parse_json
from portbev.parity.dumps.header import HEADER, SCHEMA, Header, header_hash
from portbev.parity.dumps.record import Key, Record
from portbev.parity.dumps.sketch import Sketch
from portbev.parity.dumps.writing import file_facts, records_name, responses_name
from portbev.runs.reading import in_words, read_object
from portbev.tensorfiles.reading import read_safetensors

_CURE = "Copy the dump again, or make it anew: portbev parity dump"


@dataclass(frozen=True)
class RankRecords:
    """The records of one process, in the order of its step: ``records[n].n == n``."""

    rank: int
    records: list[Record]

    @cached_property
    def by_key(self) -> dict[Key, Record]:
        return {record.key: record for record in self.records}

    def content(self, record: Record) -> Record:
        """The record that has the sketch of this one's content: itself, or the one whose content it has."""
        while record.sketch is None and record.same is not None:
            record = self.records[record.same]
        return record

    def sketch(self, record: Record) -> Sketch | None:
        """The record's sketch, or that of the record whose content it has."""
        return self.content(record).sketch

    def inputs(self, record: Record) -> list[Record]:
        """What it was computed from."""
        return [self.records[n] for n in record.inputs]


@dataclass(frozen=True)
class Dump:
    """A dump. ``ranks[r]`` are the records of process ``r``."""

    path: Path
    header: Header
    ranks: list[RankRecords]

    @property
    def label(self) -> str:
        """For people: the folder's name, and ``(emulated)`` where the device was."""
        name = self.path.resolve().name
        return f"{name} (emulated)" if self.header.run.backend.emulated else name

    def tensor(self, rank: int, record: Record) -> Tensor | None:
        """The whole tensor of a record, on the CPU; None where it was not kept."""
        while record.tensor is None and record.same is not None:
            record = self.ranks[rank].records[record.same]
        return None if record.tensor is None else read_safetensors(self.path / record.tensor)["tensor"]


def load_dump(path: Path | str) -> Dump:
    """Read a dump; every file is checked against its digest.

    Raises:
        PortbevError: it is none, is truncated or altered, or of another version: one line with the file.
    """
    path = Path(path)
    header = read_header(path)
    for name, facts in header.files.items():
        _check(path / name, facts.bytes, facts.sha256)
    ranks = [RankRecords(rank.rank, list(_records(path, rank.rank, rank.records, header))) for rank in header.ranks]
    return Dump(path, header, ranks)


def read_header(path: Path) -> Header:
    """The header of the dump at ``path``; its other files are not looked at."""
    where = path / HEADER
    if not where.is_file():
        what = "is no dump: it has no header.json" if path.is_dir() else "no such dump"
        raise PortbevError(what, where=str(path), cure="Name a folder written by: portbev parity dump --out DIR")
    content = read_object(where)
    if content.get("schema") != SCHEMA:
        what = f"schema is {content.get('schema')!r}, this version reads {SCHEMA!r}"
        raise PortbevError(what, where=str(where), cure="Use the version of portbev that wrote it")
    if content.get("hash") != header_hash(content):
        raise PortbevError("is altered: its content is not that of its hash", where=str(where), cure=_CURE)
    try:
        return Header.model_validate(content)
    except ValidationError as error:
        raise PortbevError(f"is damaged: {in_words(error)}", where=str(where), cure=_CURE) from error


def _check(path: Path, size: int, sha256: str) -> None:
    if not path.is_file():
        raise PortbevError("is missing", where=str(path), cure=_CURE)
    facts = file_facts(path)
    if facts["bytes"] != size:
        what = f"is truncated or altered: {facts['bytes']} bytes instead of {size}"
        raise PortbevError(what, where=str(path), cure=_CURE)
    if facts["sha256"] != sha256:
        raise PortbevError("is altered: its SHA-256 is not the one in header.json", where=str(path), cure=_CURE)


def _records(path: Path, rank: int, count: int, header: Header) -> Iterator[Record]:
    name = records_name(rank)
    if name not in header.files:
        raise PortbevError(f"is damaged: it does not name {name}", where=str(path / HEADER), cure=_CURE)
    moved: dict[int, dict[str, Any]] = {}
    if responses_name(rank) in header.files:
        moved = {int(line["n"]): line for line in _lines(path / responses_name(rank))}
    found = 0
    for n, line in enumerate(_lines(path / name)):
        try:
            record = Record.from_json(line)
            ahead = [record.n != n, *(not 0 <= m < n for m in record.inputs), not 0 <= (record.same or 0) <= n]
        except (KeyError, TypeError, ValueError, struct.error) as error:
            raise PortbevError(f"line {n + 1} is no record: {error}", where=str(path / name), cure=_CURE) from error
        if any(ahead):
            raise PortbevError(f"line {n + 1} refers to what is not before it", where=str(path / name), cure=_CURE)
        found += 1
        again = moved.get(n, {})
        yield replace(record, responses=tuple(again.get("moved", ())), arguments_move=bool(again.get("arguments")))
    if found != count:
        raise PortbevError(f"has {found} records instead of {count}", where=str(path / name), cure=_CURE)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with open(path, encoding="utf-8") as file:
        for number, text in enumerate(file, 1):
            try:
                line = parse_json(text)
            except ValueError as error:
                raise PortbevError(f"line {number} is not JSON", where=str(path), cure=_CURE) from error
            if not isinstance(line, dict):
                raise PortbevError(f"line {number} is no object", where=str(path), cure=_CURE)
            yield line
