"""Every recorded AP, recall, error and training-time number of RADIal's evaluation comes out, to 1e-9."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import pytest

from portbev_radial.metrics import IOU_THRESHOLDS, OVERLAPS, RANGES, TP_ERRORS, RadialMetrics, evaluate_arrays

pytestmark = pytest.mark.reference

TOLERANCE = 1e-9
ANGLE_ULP = 4e-6
"""Last place of a float32 angle below 64 degrees."""
ARCTAN_OF_THE_RECORD = 0x3AE03B91
"""Checksum of float32 arctangents as the library behind the recorded angles rounds them; others are as right."""


@pytest.fixture(scope="module")
def golden(echofusion_case: Path) -> dict:
    path = echofusion_case / "eval" / "golden.json"
    if not path.is_file():
        pytest.skip(f"{echofusion_case.name} has no eval/golden.json")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def metrics(echofusion_case: Path, golden: dict) -> RadialMetrics:
    with np.load(echofusion_case / "eval" / "inputs.npz", allow_pickle=False) as inputs:
        frames = [np.split(inputs[name], inputs[f"{name}_offsets"][1:-1]) for name in ("pred", "gt")]
    return evaluate_arrays(*frames)


def test_reported_numbers_are_the_recorded_ones(golden: dict, metrics: RadialMetrics) -> None:
    for kind in OVERLAPS:
        cells = {f"IoU{threshold}/{name}": (kind, threshold, name) for threshold in IOU_THRESHOLDS for name in RANGES}
        assert golden[kind].keys() == cells.keys()
        for label, key in cells.items():
            recorded, ours = golden[kind][label], metrics.official.reported[key]
            assert ours.ap == pytest.approx(recorded["AP"], rel=0, abs=TOLERANCE), (kind, label)
            assert ours.recall == pytest.approx(recorded["recall"], rel=0, abs=TOLERANCE), (kind, label)
            assert ours.tp_iou == pytest.approx(recorded["tp_iou"], rel=0, abs=TOLERANCE), (kind, label)
            errors = [ours.tp_errors[name] for name in TP_ERRORS]
            assert errors == pytest.approx(recorded["tp_error"], rel=0, abs=TOLERANCE), (kind, label)


def angle_tolerance() -> float:
    """The official angle error takes float32 arctangents, whose last bit is the machine's own."""
    x = np.arange(5, 101, dtype=np.float32)
    mine = np.arctan2(np.full_like(x, 3.1), x).astype("<f4")
    return TOLERANCE if zlib.crc32(mine.tobytes()) == ARCTAN_OF_THE_RECORD else 2 * ANGLE_ULP


@pytest.mark.parametrize("name", ["GetFullMetrics", "GetFullMetricsV2"])
def test_training_time_numbers_are_the_recorded_ones(name: str, golden: dict, metrics: RadialMetrics) -> None:
    scores = metrics.official.training if name == "GetFullMetrics" else metrics.official.training_fixed_size
    ours = scores.named()
    renamed = {"Range Error": "range_error", "Angle Error": "angle_error"}
    for label, recorded in golden[name].items():
        tolerance = angle_tolerance() if label == "Angle Error" else TOLERANCE
        assert ours[renamed.get(label, label)] == pytest.approx(recorded, rel=0, abs=tolerance), label


def test_mended_errors_are_those_of_neighbours(golden: dict, metrics: RadialMetrics) -> None:
    """Pairs overlap by half, so they are close; the original's bug compares boxes tens of metres apart."""
    for scores in (metrics.fixed.training, metrics.fixed.training_fixed_size):
        assert scores.range_error < 2 < golden["GetFullMetrics"]["Range Error"]
        assert scores.angle_error < 5 < golden["GetFullMetrics"]["Angle Error"]
