"""The document that ``portbev bench`` writes: JSON, whole after every case, with its environment."""

from __future__ import annotations

import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from portbev.backend import Backend
from portbev.files import finite, write_json, write_text


class Document:
    """Collects rows, and writes them with a table beside them.

    Args:
        kind: ``ops``, ``step`` or ``roofline``: the schema, and the names of the files.
        head: what is known before the first row.
        table: from the content to Markdown.
        folder: where the files go.
    """

    def __init__(
        self, kind: str, head: dict[str, Any], table: Callable[[dict[str, Any]], str], folder: Path | None
    ) -> None:
        self.content: dict[str, Any] = {"schema": f"portbev.bench.{kind}/1", **head, "rows": [], "status": "running"}
        self._kind, self._table, self._folder = kind, table, folder

    @property
    def files(self) -> list[Path]:
        """JSON and table."""
        if self._folder is None:
            return []
        return [self._folder / f"{self._kind}.{ending}" for ending in ("json", "md")]

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; the files have it from now on."""
        self.content["rows"].append(finite(row))
        self.write()

    def end(self, status: str) -> None:
        """``finished`` or ``interrupted``."""
        self.content["status"] = status
        self.write()

    def write(self) -> None:
        """Write both files, each whole or not at all."""
        if self._folder is not None:
            write_json(self.files[0], self.content)
            write_text(self.files[1], self.markdown())

    def markdown(self) -> str:
        """The table."""
        return self._table(self.content)


def head(backend: Backend, **settings: Any) -> dict[str, Any]:
    """When, on what, with which settings, by which command."""
    return {
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv[1:],
        "backend": backend.label,
        "emulated": backend.emulated,
        "device": backend.device_name(),
        "environment": backend.environment(),
        **settings,
    }
