"""The boxes of a prediction as a server answers them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from portbev.evaluate.usable import usable
from portbev.serve.schema import Answer, InStream

if TYPE_CHECKING:
    from portbev.models import Detections


def answer(
    detections: Detections,
    *,
    classes: Sequence[str],
    frame: str,
    token: str = "",
    min_score: float = 0.0,
    stream: InStream | None = None,
) -> Answer:
    """The boxes that can be told in JSON and have the score that was asked for, in the model's order.

    Args:
        classes: names by label.
        frame: the frame of coordinates that the boxes are in.
    """
    found, left_out = usable(detections)
    kept = [index for index, score in enumerate(found.scores.tolist()) if score >= min_score]
    return Answer(
        token=token,
        boxes=found.boxes[kept].tolist(),
        scores=found.scores[kept].tolist(),
        classes=[classes[label] for label in found.labels[kept].tolist()],
        frame=frame,
        left_out=left_out,
        stream=stream,
    )
