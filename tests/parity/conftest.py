"""Run directories made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from handmade import METRICS, RUN, losses, merged

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run("cpu", meta={...}, metrics={...} | None, curve=function of step, steps=60)`` -> directory."""

    def make(
        name: str,
        meta: dict[str, Any] | None = None,
        metrics: dict[str, Any] | None = None,
        curve: Callable[[int], dict[str, float]] = losses,
        steps: int = 60,
        evaluated: bool = True,
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(merged(RUN, meta or {})))
        rows = [{"step": s, "epoch": 0, "samples": 2 * s, "losses": curve(s), "lr": 1e-4} for s in range(1, steps + 1)]
        (folder / "scalars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if evaluated:
            (folder / "metrics.json").write_text(json.dumps(merged(METRICS, metrics or {})))
        return folder

    return make
