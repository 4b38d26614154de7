"""SHA-256 of files and of JSON values: what was cut off or edited afterwards is seen."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def json_digest(content: Mapping[str, Any], without: str) -> str:
    """SHA-256 of ``content`` as JSON with sorted keys and no spaces, but for its entry ``without``, which holds it."""
    values = {key: value for key, value in content.items() if key != without}
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()
