"""The evaluation of predictions given as arrays or as files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from portbev.errors import ResultsError
from portbev_radial.metrics.boxes import FrameBoxes, frame_boxes, padded, single_precision
from portbev_radial.metrics.constants import Quirks
from portbev_radial.metrics.files import read_boxes
from portbev_radial.metrics.original import read_original
from portbev_radial.metrics.reported import reported_scores
from portbev_radial.metrics.result import RadialMetrics, Scores
from portbev_radial.metrics.rings import rings, within
from portbev_radial.metrics.training import training_score


def evaluate(
    predictions: FrameBoxes, ground_truth: FrameBoxes, bounds: tuple[float, float] | None = None
) -> RadialMetrics:
    """Score predictions.

    Frames are evaluated in the ground truth's order, which breaks ties between equal scores.

    Args:
        predictions, ground_truth: boxes of the same frames.
        bounds: evaluate only boxes whose centre is at horizontal distances from the first up to the second [m].

    Raises:
        ResultsError: frames without predictions, or predictions of frames that the ground truth does not have.
    """
    if not predictions.scored or ground_truth.scored:
        raise ResultsError("predictions have 8 columns, ground truth has 7")
    _check_frames(predictions.frames, ground_truth.frames)
    if predictions.frames != ground_truth.frames:
        predictions = predictions.select(ground_truth.frames)
    if bounds is not None:
        predictions, ground_truth = within(predictions, *bounds), within(ground_truth, *bounds)
    return RadialMetrics(
        official=_scores(predictions, ground_truth, "official"),
        fixed=_scores(predictions, ground_truth, "fixed"),
        frames=len(ground_truth.frames),
        ground_truth=len(ground_truth.rows),
        predictions=len(predictions.rows),
        notes=_notes(predictions, ground_truth),
        by_distance=rings(predictions, ground_truth),
    )


def evaluate_arrays(
    predictions: Iterable[ArrayLike], ground_truth: Iterable[ArrayLike], frames: Sequence[str] | None = None
) -> RadialMetrics:
    """Score arrays of the same frames, (n, 8) and (n, 7) each; see :mod:`portbev_radial.metrics.boxes`.

    Raises:
        ResultsError: different numbers of frames; a wrong shape; a number that is not finite; names the frame.
    """
    truth = frame_boxes(ground_truth, frames, scored=False)
    per_frame = list(predictions)
    if len(per_frame) != len(truth.frames):
        raise ResultsError(f"predictions of {len(per_frame)} frames, but ground truth of {len(truth.frames)}")
    return evaluate(frame_boxes(per_frame, truth.frames, scored=True), truth)


def evaluate_files(
    results: Path | str, ground_truth: FrameBoxes | Path | str, bounds: tuple[float, float] | None = None
) -> RadialMetrics:
    """Score a results file.

    Args:
        results: ``portbev.radial/1`` JSON, or the original's ``results_3d.npy``, whose frames are taken in the order
            of the ground truth.
        ground_truth: boxes, or a ``portbev.radial/1`` file of them.
        bounds: as in :func:`evaluate`.

    Raises:
        ResultsError: a file that cannot be scored; names the frame and the box.
    """
    truth = ground_truth if isinstance(ground_truth, FrameBoxes) else read_boxes(ground_truth, scored=False)
    if Path(results).suffix == ".npy":
        return evaluate(read_original(results, truth.frames), truth, bounds)
    return evaluate(read_boxes(results, scored=True), truth, bounds)


def _scores(predictions: FrameBoxes, ground_truth: FrameBoxes, quirks: Quirks) -> Scores:
    predicted, truth = padded(predictions), padded(ground_truth)
    if quirks == "official":
        predicted = single_precision(predicted)
    with np.errstate(over="ignore", invalid="ignore"):  # a box of 1e30 m is only a false positive
        return Scores(
            reported_scores(predicted, truth, quirks),
            training_score(predicted, truth, quirks, fixed_size=False),
            training_score(predicted, truth, quirks, fixed_size=True),
        )


def _check_frames(predicted: Sequence[str], truth: Sequence[str]) -> None:
    predicted_set, truth_set = set(predicted), set(truth)
    missing = [name for name in truth if name not in predicted_set]
    if missing:
        message = f"{len(missing)} of {len(truth)} frames have no predictions"
        cure = "A frame without detections needs an entry without boxes"
        raise ResultsError(message, where=f"frame {missing[0]}", cure=cure)
    extra = [name for name in predicted if name not in truth_set]
    if extra:
        message = f"{len(extra)} frames are predicted that the ground truth does not have"
        raise ResultsError(message, where=f"frame {extra[0]}", cure="Evaluate on the split that was predicted")


def _notes(predictions: FrameBoxes, ground_truth: FrameBoxes) -> tuple[str, ...]:
    notes = []
    if not len(predictions.rows):
        notes.append("There are no predicted boxes, so everything scores zero.")
    if not len(ground_truth.rows):
        notes.append("There is no ground truth, so everything scores zero.")
    return tuple(notes)
