"""Evidence whose hash was taken out is no evidence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from portbev.digests import json_digest
from portbev.errors import PortbevError
from portbev.parity.evidence import KINDS, read_evidence

HASHED = {
    "portbev.dump": "hash",
    "portbev.dump-comparison": "hash",
    "portbev.parity-bisect": "hash",
    "portbev.parity-ops": "content_hash",
    "portbev.parity-curves": "content_hash",
    "portbev.parity-report": "content_hash",
}


@pytest.mark.parametrize("kind", HASHED)
@pytest.mark.parametrize("left", [None, "", "0" * 64])
def test_evidence_without_its_hash_is_refused_as_edited(kind: str, left: str | None, tmp_path: Path) -> None:
    path, name = tmp_path / "evidence.json", HASHED[kind]
    content: dict[str, object] = {"schema": f"{kind}/1", "backend": "cpu", "emulated": False, "verdict": "fault"}
    content[name] = json_digest(content, name)
    path.write_text(json.dumps(content))
    assert read_evidence(path).verdict == "fault"
    content["verdict"] = "clean"
    del content[name]
    path.write_text(json.dumps(content if left is None else {**content, name: left}))
    with pytest.raises(PortbevError, match="edited") as refused:
        read_evidence(path)
    assert "evidence.json" in str(refused.value) and "\n" not in str(refused.value)


def test_every_kind_of_evidence_but_benchmarks_has_a_hash() -> None:
    assert set(HASHED) == {kind for kind in KINDS if not kind.startswith("portbev.bench.")}
