"""The settings of RADIal's two evaluations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Quirks = Literal["official", "fixed"]
Overlap = Literal["bev", "3d", "let"]

QUIRKS: tuple[Quirks, ...] = ("official", "fixed")
OVERLAPS: tuple[Overlap, ...] = ("bev", "3d", "let")
IOU_THRESHOLDS = (0.7, 0.5)
RANGES: Mapping[str, tuple[float, float] | None] = {"0-50": (0.0, 50.0), "50-100": (50.0, 100.0), "overall": None}
"""Name of a range bin -> its bounds [m] on the length of (x, y, z); None takes every box."""
MIN_SCORE = 0.01
"""Reported evaluation: predictions with a score up to this are ignored."""
RECALL_POINTS = 101
TP_ERRORS = ("x", "y", "z", "dx", "dy", "dz", "yaw", "centre", "size")
"""True-positive errors: of the seven box parameters [m, rad], then of centre and size as Euclidean distances [m]."""
LET_TOLERANCE = 0.1
"""Longitudinal error that LET tolerates, as a fraction of the range."""

TRAINING_SCORES = tuple(0.1 * (step + 1) for step in range(9))
TRAINING_IOU = 0.5
TRAINING_NMS_IOU = 0.05
TRAINING_FORWARD = (5.0, 100.0)
"""Bounds [m] on x, both included."""
FIXED_SIZE = (4.0, 1.8)
"""Length and width [m] of every box, with yaw 0, in the variant for detectors that predict points."""

PREDICTION_COLUMNS = ("x", "y", "z_bottom", "dx", "dy", "dz", "yaw", "score")
TRUTH_COLUMNS = PREDICTION_COLUMNS[:7]
