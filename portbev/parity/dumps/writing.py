"""Writing a dump: streamed beside its place, and put there whole or not at all.

A dump is a folder::

    header.json          what it is a dump of, and the digests of the other files (:mod:`.header`)
    records.0.jsonl      a record a line, in the order of the step, of process 0 (:mod:`.record`); a file a process
    responses.0.jsonl    how far each record moved in the steps that were run again: {"n": 17, "moved": [1.2e-6, ...]},
                         with "arguments": true where its arguments were others; a record without a line did not move
    tensors/0/17.safetensors   the whole tensor of record 17 of process 0, under the name "tensor"; only where asked

While it is written it lies in ``.NAME.part`` beside its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from torch import Tensor

from portbev.digests import file_digest
from portbev.errors import PortbevError
from portbev.files import finite, write_json
from portbev.parity.dumps.header import HEADER, Header, header_hash
from portbev.parity.dumps.record import Record
from portbev.runs.tensors import write_safetensors

_LINE = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_CURE = "Check that the folder is writable and the disk has room, or choose another output with --out"


def records_name(rank: int) -> str:
    return f"records.{rank}.jsonl"


def responses_name(rank: int) -> str:
    return f"responses.{rank}.jsonl"


def part_folder(out: Path) -> Path:
    """Where a dump lies while it is written."""
    return out.with_name(f".{out.name}.part")


def begin(out: Path) -> None:
    """Make room for a dump at ``out``; called by the first process alone.

    Raises:
        PortbevError: something is there already, or the folder cannot be written.
    """
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        what = "holds a dump already" if (out / HEADER).is_file() else "is there already"
        raise PortbevError(what, where=str(out), cure="Choose another output with --out, or remove it")
    with _said(out):
        shutil.rmtree(part_folder(out), ignore_errors=True)
        part_folder(out).mkdir(parents=True)


def finish(out: Path, header: Header) -> None:
    """Put a dump in its place, after all processes have closed their files; called by the first process alone.

    Args:
        header: complete but for its ``hash``.
    """
    folder = part_folder(out)
    content = finite(header.model_dump(mode="json", by_alias=True))
    content["hash"] = header_hash(content)
    with _said(out):
        write_json(folder / HEADER, content)
        if out.is_dir():
            out.rmdir()
        os.replace(folder, out)


class RankWriter:
    """Writes the files of one process, line by line.

    Attributes:
        count: records that were written.
    """

    def __init__(self, out: Path, rank: int) -> None:
        self._folder, self._rank, self.count = part_folder(out), rank, 0
        self._files: dict[str, dict[str, Any]] = {}
        self._open: dict[str, tuple[IO[bytes], Any]] = {}
        self._where = out

    def add(self, record: Record) -> None:
        """Append a record."""
        self._line(records_name(self._rank), record.as_json())
        self.count += 1

    def add_tensor(self, record: Record, tensor: Tensor) -> str:
        """Keep the whole tensor of a record; returns the file's name, which the record shall have."""
        name = f"tensors/{self._rank}/{record.n}.safetensors"
        path = self._folder / name
        with _said(self._where):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_safetensors(path, {"tensor": tensor})
            self._files[name] = file_facts(path)
        return name

    def add_responses(self, n: int, moved: Sequence[float | None], *, arguments: bool) -> None:
        """Write how far record ``n`` moved in the steps that were run again."""
        told = [None if value is None or not math.isfinite(value) else value for value in moved]
        self._line(responses_name(self._rank), {"n": n, "moved": told, **({"arguments": True} if arguments else {})})

    def close(self) -> dict[str, dict[str, Any]]:
        """Flush to disk; returns the digests of this process's files."""
        with _said(self._where):
            for name, (file, digest) in self._open.items():
                file.flush()
                os.fsync(file.fileno())
                self._files[name] = {"bytes": file.tell(), "sha256": digest.hexdigest()}
                file.close()
        self._open.clear()
        return self._files

    def _line(self, name: str, value: dict[str, Any]) -> None:
        line = _LINE.encode(value).encode() + b"\n"
        with _said(self._where):
            if name not in self._open:
                self._open[name] = (open(self._folder / name, "wb"), hashlib.sha256())  # noqa: SIM115  (closed in close)
            file, digest = self._open[name]
            file.write(line)
        digest.update(line)


def abandon(out: Path) -> None:
    """Remove what was written of a dump that failed."""
    shutil.rmtree(part_folder(out), ignore_errors=True)


def file_facts(path: Path) -> dict[str, Any]:
    """Size and SHA-256 of a file."""
    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


@contextlib.contextmanager
def _said(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PortbevError(f"cannot write the dump: {error.strerror or error}", where=str(out), cure=_CURE) from error
