"""Content hashes: what was cut off or edited afterwards is seen. No signature: whoever can write can seal again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portbev.digests import json_digest
from portbev.errors import PortbevError
from portbev.parity.document import ParityReport

HASH = "content_hash"


def content_hash(document: Mapping[str, Any]) -> str:
    """SHA-256 of ``document`` as JSON with sorted keys and no spaces, without its entry ``content_hash``."""
    return json_digest(document, HASH)


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
