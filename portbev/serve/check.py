"""Compares a running server's answers with the model's own, on real samples."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from portbev.boxes import BOX_FIELDS
from portbev.serve.answers import answer
from portbev.serve.client import Client, multipart
from portbev.serve.schema import Answer

if TYPE_CHECKING:
    from portbev.export.interface import Predictor, SampleSource, State

_SAME = ("classes", "frame", "temporal")
"""What a server and a model that it could serve have in common."""


@dataclass(frozen=True)
class Checked:
    """How a check ended.

    Attributes:
        samples, boxes: how many were compared.
        largest: greatest difference of a number in a box, and of a score.
        difference: the first one that is beyond the tolerance, in a line; empty where there is none.
    """

    samples: int = 0
    boxes: int = 0
    largest: float = 0.0
    difference: str = ""


def check(
    url: str,
    predictor: Predictor,
    source: SampleSource,
    *,
    samples: int,
    tolerance: float,
    timeout: float = 60.0,
    each: Callable[[int], None] = lambda _: None,
) -> Checked:
    """Send samples to the server at ``url`` and compare its boxes with those of ``predictor``.

    Args:
        source: the samples.
        samples: how many.
        tolerance: by how much a number of a box [m, rad, m/s] or a score may differ.
        each: told how many are done.

    Raises:
        PortbevError: no server, one that refuses a sample, or one that serves another kind of model.
    """
    client = Client(url, timeout=timeout)
    served, here = client.metadata(), _facts(predictor)
    for name in _SAME:
        if served.get(name) != here[name]:
            what = f"the server's {name} is {served.get(name)}, the model's {here[name]}"
            return Checked(difference=what)
    theirs, ours = served.get("weights"), predictor.facts.get("weights")
    if theirs and ours and theirs != ours:
        what = f"the server's weights are {str(theirs)[:12]}, the model's {str(ours)[:12]} (SHA-256)"
        return Checked(difference=what)
    session, state = f"check-{secrets.token_hex(8)}", None
    done, boxes, largest = 0, 0, 0.0
    try:
        for index, begins in source.order(samples):
            request, token = source.request(index), str(source.tokens[index])
            state = None if begins else state
            others: dict[str, Any] = {"token": token}
            if predictor.temporal:
                others |= {"session": session, "continues": not begins}
            body, kind = multipart(request, predictor.fields, **others)
            said = Answer.model_validate(client.predict(body, kind))
            mine, state = _here(predictor, request, state, token)
            far, difference = compare(said, mine, tolerance)
            largest = max(largest, far)
            if difference:
                return Checked(done, boxes, largest, f"sample {token}: {difference}")
            done, boxes = done + 1, boxes + len(mine.boxes)
            each(done)
    finally:
        if predictor.temporal and done:
            client.forget(session)
    return Checked(done, boxes, largest)


def _facts(predictor: Predictor) -> dict[str, Any]:
    return {"classes": list(predictor.classes), "frame": predictor.frame, "temporal": predictor.temporal}


def _here(predictor: Predictor, request: Any, state: State | None, token: str) -> tuple[Answer, State]:
    (found,) = predictor([request], [state or {}] if predictor.temporal else None)
    mine = answer(found.detections, classes=predictor.classes, frame=predictor.frame, token=token)
    return mine, found.state


def compare(said: Answer, mine: Answer, tolerance: float) -> tuple[float, str]:
    """The greatest difference of the boxes of two answers, and the first that is beyond ``tolerance``, in words.

    Boxes are compared in their order; where that does not hold, each with the nearest one of its class, because boxes
    of almost equal scores may change places.
    """
    if len(said.boxes) != len(mine.boxes):
        return 0.0, f"the server finds {len(said.boxes)} boxes, the model {len(mine.boxes)}"
    if not mine.boxes:
        return 0.0, ""
    theirs, ours = _rows(said), _rows(mine)
    away = np.abs(theirs - ours).max(1)
    same = np.array([one == other for one, other in zip(said.classes, mine.classes, strict=True)])
    if same.all() and away.max() <= tolerance:
        return float(away.max()), ""
    free = list(range(len(theirs)))
    for index, row in enumerate(ours):
        near = [other for other in free if said.classes[other] == mine.classes[index]]
        distances = [float(np.abs(theirs[other] - row).max()) for other in near]
        if not near or min(distances) > tolerance:
            return float(away.max()), _first(said, mine, index)
        free.remove(near[int(np.argmin(distances))])
    return tolerance, ""


def _rows(one: Answer) -> np.ndarray[Any, Any]:
    return np.concatenate([np.asarray(one.boxes, np.float64), np.asarray(one.scores, np.float64)[:, None]], 1)


def _first(said: Answer, mine: Answer, index: int) -> str:
    """The difference of one box, in words."""
    if said.classes[index] != mine.classes[index]:
        return f"box {index} is {said.classes[index]} by the server, {mine.classes[index]} by the model"
    theirs, ours = _rows(said)[index], _rows(mine)[index]
    worst = int(np.abs(theirs - ours).argmax())
    name = (*BOX_FIELDS, "score")[worst]
    values = f"{theirs[worst]:.9g} by the server, {ours[worst]:.9g} by the model"
    return f"box {index} ({mine.classes[index]}): {name} is {values}"
