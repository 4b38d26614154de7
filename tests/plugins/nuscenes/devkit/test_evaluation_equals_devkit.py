"""The devkit's DetectionEval in the same process gives the same numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from nuscenes_cases import random_case, write_tables

from portbev_nuscenes.classes import BICYCLE_RACK, CATEGORY_TO_CLASS, DETECTION_CLASSES, IGNORED_CATEGORIES
from portbev_nuscenes.metrics import evaluate_files, write_predictions
from portbev_nuscenes.tables.splits import OFFICIAL_SPLITS

VERSION = "v1.0-mini"


def devkit_numbers(root: Path, results: Path, split: str, out: Path) -> dict[str, Any]:
    """Summary and details by the devkit."""
    from nuscenes import NuScenes
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.evaluate import DetectionEval

    tables = NuScenes(version=VERSION, dataroot=str(root), verbose=False)
    config = config_factory("detection_cvpr_2019")
    metrics, curves = DetectionEval(tables, config, str(results), split, str(out), verbose=False).evaluate()
    return {"summary": metrics.serialize(), "details": curves.serialize()}


def largest_difference(ours: Any, theirs: Any, where: str = "") -> float:
    """Of two nested values of one form; NaN must meet NaN."""
    if isinstance(theirs, dict):
        assert {str(key) for key in ours} == {str(key) for key in theirs}, where
        named = {str(key): value for key, value in theirs.items()}
        return max((largest_difference(ours[key], named[str(key)], f"{where}/{key}") for key in ours), default=0.0)
    if isinstance(theirs, (list, tuple)):
        assert len(ours) == len(theirs), where
        return max((largest_difference(a, b, where) for a, b in zip(ours, theirs, strict=True)), default=0.0)
    if isinstance(theirs, float) and np.isnan(theirs):
        assert np.isnan(ours), where
        return 0.0
    if isinstance(theirs, (int, float)):
        return abs(ours - theirs)
    assert ours == theirs, where
    return 0.0


def link(root: Path) -> None:
    """Make objects of neighbouring samples one instance, so that velocities are known."""
    path = root / VERSION / "sample_annotation.json"
    rows = json.loads(path.read_text())
    for first, second in zip(rows[:-1:3], rows[1::3], strict=False):
        first["next"], second["prev"] = second["token"], first["token"]
    path.write_text(json.dumps(rows))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("split", ["custom", "mini_val"])
def test_summary_and_details_are_the_devkits(nuscenes_devkit, tmp_path, seed, split):
    few = ("car", "pedestrian", "bicycle", "barrier", "traffic_cone") if seed % 2 else DETECTION_CLASSES
    found, truth = random_case(seed, samples=8, truths=120, predictions=500, coarse=seed >= 2, classes=few)
    write_tables(tmp_path, truth, {"scene-0103": [0, 1, 2, 3], "scene-0916": [4, 5, 6, 7]})
    link(tmp_path)
    shuffled = np.random.default_rng(seed).permutation(truth.sample_tokens).tolist()
    found = found.select(shuffled)
    stray = found.sample_index.copy()
    stray[::50] = (stray[::50] + 1) % 8
    write_predictions(tmp_path / "predictions.json", replace(found, lookup_index=stray))
    ours = evaluate_files(tmp_path / "predictions.json", tmp_path, VERSION, split)
    theirs = devkit_numbers(tmp_path, tmp_path / "predictions.json", split, tmp_path / "out")
    summary = ours.summary()
    for content in (summary, theirs["summary"]):
        content.pop("eval_time")
    assert ours.mean_ap > 0
    theirs["summary"].pop("meta", None), summary.pop("meta")
    assert largest_difference(summary, theirs["summary"]) <= 1e-12
    assert largest_difference(ours.details(), theirs["details"]) <= 1e-12
    # what decides who matches whom is equal to the bit
    for name, curve in ours.details().items():
        for key in ("recall", "precision", "confidence", "trans_err"):
            assert curve[key] == theirs["details"][name][key], (name, key)


def test_facts_are_the_devkits(nuscenes_devkit):
    from nuscenes.eval.common.config import config_factory
    from nuscenes.eval.detection.constants import ATTRIBUTE_NAMES, DETECTION_NAMES
    from nuscenes.eval.detection.utils import category_to_detection_name
    from nuscenes.utils.splits import create_splits_scenes

    from portbev_nuscenes.classes import ATTRIBUTES, CLASS_RANGE, EVALUATION_CLASSES

    assert tuple(DETECTION_NAMES) == EVALUATION_CLASSES
    assert set(ATTRIBUTE_NAMES) == set(ATTRIBUTES)
    assert config_factory("detection_cvpr_2019").class_range == CLASS_RANGE
    for category in (*CATEGORY_TO_CLASS, *IGNORED_CATEGORIES, BICYCLE_RACK):
        assert category_to_detection_name(category) == CATEGORY_TO_CLASS.get(category)
    assert {split: sorted(names) for split, names in create_splits_scenes().items()} == {
        split: sorted(names) for split, names in OFFICIAL_SPLITS.items()
    }
