"""docs/porting.md, from ``portbev backends`` to ``portbev parity report``, on the emulated npu as printed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from printed import DOCS, fences
from printed_running import run_printed

PAGE = DOCS / "porting.md"
pytestmark = [
    pytest.mark.skipif(not PAGE.exists(), reason="the pages are not part of this installation"),
    pytest.mark.slow,
]


def test_every_step_of_the_page_leads_to_the_next(tmp_path: Path) -> None:
    steps = [fence for fence in fences(PAGE) if fence.language == "bash"]
    assert all(fence.mark == "step" for fence in steps), "a block that this test would not run"
    folder = tmp_path / "porter"
    folder.mkdir()
    said = run_printed("".join(fence.text for fence in steps), folder)

    def of(start: str) -> str:
        return next(text for line, text in said.items() if line.startswith(f"portbev {start}"))

    assert "npu (emulated)  available" in of("backends")
    assert "every error is rounding" in of("parity ops")
    assert "deform_attn" in json.loads((folder / "port/first/run.json").read_text())["kernels"]
    assert "bit-identical" in of("parity compare")
    assert "no cause" in of("parity bisect")
    report = json.loads((folder / "port/report/report.json").read_text())
    assert "losses: bit-identical over 2 steps" in report["summary"][0] and report["evidence"]
    assert "its runs, judged again, say the same" in of("parity verify")
