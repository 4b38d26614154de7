"""Run directories made by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from handmade import METRICS, losses, merged, record

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """``make_run("cpu", meta={...}, metrics={...}, curve=function of step, sets=["key=value"])`` -> directory."""

    def make(
        name: str,
        meta: dict[str, Any] | None = None,
        metrics: dict[str, Any] | None = None,
        curve: Callable[[int], dict[str, float]] = losses,
        steps: int = 60,
        evaluated: bool = True,
        sets: Sequence[str] = (),
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps(record(*sets, **(meta or {}))))
        times = {"lr": 1e-4, "grad_norm": 1.0, "step_time": 0.8, "data_time": 0.1}
        rows = [{"step": s, "epoch": 0, "samples": 2 * s, "losses": curve(s), **times} for s in range(1, steps + 1)]
        (folder / "scalars.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        if evaluated:
            (folder / "metrics.json").write_text(json.dumps(merged(METRICS, metrics or {})))
        return folder

    return make
