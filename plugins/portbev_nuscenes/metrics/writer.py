"""Write detection submissions from arrays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from portbev.files import atomic_write
from portbev_nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES
from portbev_nuscenes.metrics.arrays import PredictionArrays
from portbev_nuscenes.metrics.checks import check_predictions

CAMERA_ONLY: Mapping[str, bool] = {
    "use_camera": True,
    "use_lidar": False,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}
"""The ``meta`` of a submission made from camera images alone."""


def write_predictions(path: Path | str, predictions: PredictionArrays, meta: Mapping[str, Any] | None = None) -> None:
    """Write a nuScenes detection submission atomically. Numbers are written so that they read back bit-equal.

    Args:
        path: the file, usually ``predictions.json``.
        predictions: boxes; every one of ``sample_tokens`` is written, with an empty list where it has none.
        meta: which inputs were used; by default the ``meta`` of ``predictions``, or camera only if that is empty.

    Raises:
        ResultsError: a box that could not be scored or written (NaN, also in velocities, a size that is not positive,
            more than 500 in a sample).
        PortbevError: the file cannot be written.
    """
    check_predictions(predictions, unknown_velocity=False)
    order = np.argsort(predictions.sample_index, kind="stable")
    ends = np.cumsum(np.bincount(predictions.sample_index, minlength=len(predictions.sample_tokens)))
    head = msgspec.json.encode(dict(meta or predictions.meta or CAMERA_ONLY))
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        file.write(b'{"meta":' + head + b',"results":{')
        begin = 0
        for position, (token, end) in enumerate(zip(predictions.sample_tokens, ends.tolist(), strict=True)):
            boxes = _boxes(predictions, order[begin:end])
            file.write((b"," if position else b"") + msgspec.json.encode(token) + b":" + msgspec.json.encode(boxes))
            begin = end
        file.write(b"}}\n")


def _boxes(predictions: PredictionArrays, rows: NDArray[np.int64]) -> list[dict[str, Any]]:
    """The rows as boxes of the submission format."""
    part = predictions.take(rows)
    names = [*ATTRIBUTES, ""]  # index -1 is the last
    columns = zip(
        part.lookup.tolist(),
        part.translation.tolist(),
        part.size.tolist(),
        part.rotation.tolist(),
        part.velocity.tolist(),
        part.label.tolist(),
        part.score.tolist(),
        part.attribute.tolist(),
        [-1] * len(part) if part.num_pts is None else part.num_pts.tolist(),
        strict=True,
    )
    return [
        {
            "sample_token": part.sample_tokens[sample] if sample >= 0 else "",
            "translation": translation,
            "size": size,
            "rotation": rotation,
            "velocity": velocity,
            "detection_name": DETECTION_CLASSES[label],
            "detection_score": score,
            "attribute_name": names[attribute],
            **({} if points < 0 else {"num_pts": points}),
        }
        for sample, translation, size, rotation, velocity, label, score, attribute, points in columns
    ]
