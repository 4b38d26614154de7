"""The document that ``portbev parity ops`` writes: JSON, whole after every row, sealed by a hash of its content."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from portbev.backend import Backend
from portbev.errors import PortbevError
from portbev.files import finite, write_json
from portbev.opscheck import bias, edges, judging, rounding, shrink, smaller
from portbev.parity.seal import HASH, check_hash, content_hash
from portbev.runs.reading import read_object

SCHEMA = "portbev.parity-ops/1"
EVERY = 5.0
"""Seconds between two writings while rows come in."""


def head(backend: Backend, dtypes: list[str], *, quick: bool) -> dict[str, Any]:
    """What was judged, on what, by which thresholds."""
    return {
        "schema": SCHEMA,
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "backend": {"name": backend.name, "label": backend.label, "emulated": backend.emulated},
        "emulated": backend.emulated,
        "device": backend.device_name(),
        "environment": backend.environment(),
        "torch": torch.__version__,
        "dtypes": dtypes,
        "quick": quick,
        "method": method(),
    }


def method() -> dict[str, Any]:
    """The thresholds and settings that a verdict depends on."""
    return {
        "rms": {"float32, float64": judging.RMS[False], "float16, bfloat16": judging.RMS[True]},
        "max": judging.SINGLE,
        "bias": {"units": judging.BIAS_UNITS, "standard_errors": judging.BIAS_ERRORS, "groups": bias.GROUPS},
        "floor": judging.FLOOR,
        "ulps": list(judging.ULPS),
        "edges": edges.ROUNDINGS,
        "moves": rounding.MOVES,
        "largest": {
            "elements": shrink.ELEMENTS,
            "products": shrink.FLOPS,
            "rows": smaller.ROWS,
            "pixels": smaller.PIXELS,
        },
    }


class Document:
    """Rows by key, and the file that has them.

    Args:
        head: see :func:`head`.
        path: where it is written; None: nowhere.
    """

    def __init__(self, head: dict[str, Any], path: Path | None) -> None:
        self.content: dict[str, Any] = finite({**head, "status": "running", "rows": []})
        self.path = path
        self.resumed = 0
        self._written = time.monotonic()

    def resume(self) -> None:
        """Take the rows of the file that is there, if it is of the same device, versions and method, and unfinished.

        Raises:
            PortbevError: it is no such document, or was edited after it was written.
        """
        if self.path is None or not self.path.exists():
            return
        before = read(self.path)
        same = ("backend", "device", "environment", "method")
        if before["status"] != "finished" and all(before.get(name) == self.content.get(name) for name in same):
            self.content["rows"] = before["rows"]
            self.resumed = len(before["rows"])

    def rows(self) -> dict[str, dict[str, Any]]:
        """Rows by key."""
        return {row["key"]: row for row in self.content["rows"]}

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; the file has it some seconds later."""
        self.content["rows"].append(finite(row))
        if time.monotonic() - self._written > EVERY:
            self.write()

    def end(self, status: str) -> None:
        """``finished`` or ``interrupted``, with what is concluded."""
        self.content.update(status=status, **conclusion(self.content))
        self.write()

    def write(self) -> None:
        """Write the file, whole or not at all."""
        self._written = time.monotonic()
        self.content[HASH] = content_hash(self.content)
        if self.path is not None:
            write_json(self.path, self.content)


def conclusion(content: Mapping[str, Any]) -> dict[str, Any]:
    """``verdict`` and ``says``: for people and for the report."""
    rows = content["rows"]
    judged = [row for row in rows if row["verdict"] != "absent"]
    faults = [row for row in rows if row["verdict"] == "fault"]
    operators = len({row["operator"] for row in judged})
    what = f"{len(judged)} calls of {operators} operators, by every provider,"
    where = content["backend"]["label"]
    if not faults:
        says = [f"{what} on {where}: every error is rounding"]
    else:
        names = sorted({f"{row['operator']} by {row['by']}" for row in faults})
        says = [f"{what} on {where}: {len(faults)} with a fault: {', '.join(names)}"]
    return {"verdict": "fault" if faults else "rounding" if judged else "nothing judged", "says": says}


def read(path: Path) -> dict[str, Any]:
    """A document.

    Raises:
        PortbevError: it cannot be read, is another or a later kind, or was edited after it was written.
    """
    content = read_object(path)
    if content.get("schema") != SCHEMA:
        what = f"is {content.get('schema') or 'no document of portbev parity ops'}, not {SCHEMA}"
        raise PortbevError(what, where=str(path), cure="Name another file, or make it again")
    check_hash(content, path)
    if HASH not in content:
        raise PortbevError("has no content hash", where=str(path), cure="Make it again")
    return dict(content)
