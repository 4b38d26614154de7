"""Content hashes: what was cut off or edited afterwards is seen. No signature: whoever can write can seal again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portbev.errors import PortbevError
from portbev.parity.document import ParityReport

HASH = "content_hash"


def content_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of ``document`` as JSON with sorted keys and no spaces, without its entry ``content_hash``."""
    content = {key: value for key, value in document.items() if key != HASH}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sealed(report: ParityReport) -> ParityReport:
    """``report`` with its hash."""
    report.content_hash = content_hash(report.model_dump(mode="json", by_alias=True))
    return report


def check_hash(document: Mapping[str, Any], where: Path | str) -> None:
    """Raises PortbevError: the document has a hash and is not what was hashed."""
    said = document.get(HASH)
    if said is not None and said != content_hash(document):
        raise PortbevError(
            "was edited after it was written: its content hash does not fit", where=str(where), cure="Make it again"
        )


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
