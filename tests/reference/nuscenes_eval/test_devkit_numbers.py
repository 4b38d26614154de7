"""Every recorded result file gives the devkit's summary and details to 1e-12."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from portbev_nuscenes.metrics import evaluate, evaluate_files, load_ground_truth, load_predictions
from portbev_nuscenes.tables.splits import is_official

pytestmark = pytest.mark.reference

TOLERANCE = 1e-12


def recorded(case: Path) -> dict[str, dict[str, Any]]:
    """Result file -> its split and version, for those with a recorded summary or details."""
    manifest = json.loads((case / "MANIFEST.json").read_text())
    found = {
        path.stem: {"split": manifest["cases"][path.stem]["split"], "version": manifest["version"]}
        for path in sorted(case.glob("results*.json"))
        if path.stem in manifest["cases"]
    }
    assert found, f"no result files that the manifest knows in {case}"
    return found


def assert_close(ours: Any, theirs: Any, where: str) -> None:
    """Equal form; numbers within the tolerance; NaN where theirs is NaN."""
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys(), where
        for key in theirs:
            assert_close(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), where
        for index, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            assert_close(one, other, f"{where}[{index}]")
    elif isinstance(theirs, float) and math.isnan(theirs):
        assert math.isnan(ours), where
    elif isinstance(theirs, (int, float)) and not isinstance(theirs, bool):
        assert abs(ours - theirs) <= TOLERANCE, f"{where}: {ours!r}, recorded {theirs!r}"
    else:
        assert ours == theirs, where


def test_summary_and_details_equal_the_recorded_ones(nuscenes_eval_case: Path) -> None:
    compared = 0
    for name, of in recorded(nuscenes_eval_case).items():
        metrics = evaluate_files(nuscenes_eval_case / f"{name}.json", nuscenes_eval_case, of["version"], of["split"])
        for kind, ours in (("summary", metrics.summary()), ("details", metrics.details())):
            path = nuscenes_eval_case / f"{name}.metrics_{kind}.json"
            if not path.exists():
                continue
            theirs = json.loads(path.read_text())
            for content in (ours, theirs):
                content.pop("eval_time", None)
            assert_close(ours, theirs, f"{name}.{kind}")
            compared += 1
    assert compared, "the case has no recorded numbers"


def test_arrays_and_subsets_agree_with_files(nuscenes_eval_case: Path) -> None:
    for name, of in recorded(nuscenes_eval_case).items():
        truth = load_ground_truth(nuscenes_eval_case, of["version"], of["split"])
        found = load_predictions(nuscenes_eval_case / f"{name}.json")
        # order decides between equal scores: the file's for an official split, the table's for a custom one
        whole = found if is_official(of["split"]) else found.select(truth.sample_tokens)
        files = evaluate_files(nuscenes_eval_case / f"{name}.json", nuscenes_eval_case, of["version"], of["split"])
        assert evaluate(whole, truth).label_aps == files.label_aps
        half = truth.sample_tokens[::2]
        part = evaluate(found, truth, samples=half)
        expected = int(np.isin(truth.sample_index, np.arange(0, len(truth.sample_tokens), 2)).sum())
        assert 0 < sum(part.ground_truth_counts.values()) <= expected
