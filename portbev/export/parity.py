"""The check that ends an export: the trained model and what was exported, on the same samples."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from portbev.data.root import lasting_root
from portbev.errors import DisagreementError
from portbev.evaluate.inference import evaluating
from portbev.export.interface import Engine, ModelForm, State
from portbev.export.manifest import BoxParity, OutputParity, Parity
from portbev.export.samples import order
from portbev.export.trained import Trained
from portbev.models import Batch, Detections, with_prepared

OUTPUT_TOLERANCE = 1e-4
"""Largest error of a result over its largest magnitude. Runtimes add in another order: 1e-6 or so in float32."""
CENTER_TOLERANCE = 0.01
"""Metres between the centres of two boxes that are the same."""
SCORE_TOLERANCE = 1e-3


@dataclass
class _Output:
    max_abs: float = 0.0
    scale: float = 0.0

    def add(self, found: Tensor, wanted: Tensor) -> None:
        if found.shape != wanted.shape:
            raise DisagreementError(f"a result has the shape {tuple(found.shape)}, not {tuple(wanted.shape)}")
        error = (found.double() - wanted.double()).abs().max().item() if wanted.numel() else 0.0
        self.max_abs = float("inf") if math.isnan(error) else max(self.max_abs, error)
        self.scale = max(self.scale, wanted.abs().max().item() if wanted.numel() else 0.0)

    @property
    def max_rel(self) -> float:
        return self.max_abs / self.scale if self.scale else self.max_abs


@dataclass
class _Boxes:
    boxes: int = 0
    unmatched: int = 0
    worst: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("center", "size", "yaw", "velocity", "score"), 0.0)
    )

    def add(self, found: Detections, wanted: Detections) -> None:
        """Match the boxes of one sample; one whose score is that of the last is left out where the other has none."""
        self.boxes += len(wanted.boxes)
        pairs = _matched(found, wanted)
        self._count_lost(wanted, {w for _, w in pairs})
        self._count_lost(found, {f for f, _ in pairs})
        if not pairs:
            return
        f, w = (np.array(side) for side in zip(*pairs, strict=True))
        a, b = found.boxes[f].astype(np.float64), wanted.boxes[w].astype(np.float64)
        difference = np.abs(a - b)
        yaw = np.abs((difference[:, 6] + np.pi) % (2 * np.pi) - np.pi)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.nan_to_num(difference[:, 3:6] / np.maximum(np.abs(a[:, 3:6]), np.abs(b[:, 3:6])))
        errors = {
            "center": np.linalg.norm(difference[:, :3], axis=1),
            "size": size,
            "yaw": yaw,
            "velocity": difference[:, 7:9],
            "score": np.abs(found.scores[f].astype(np.float64) - wanted.scores[w]),
        }
        for name, error in errors.items():
            self.worst[name] = max(self.worst[name], float(np.nan_to_num(error, nan=np.inf).max()))

    def _count_lost(self, detections: Detections, matched: set[int]) -> None:
        cut = detections.scores.min(initial=np.inf) + SCORE_TOLERANCE
        self.unmatched += sum(
            1 for index, score in enumerate(detections.scores) if index not in matched and score > cut
        )


def _matched(found: Detections, wanted: Detections) -> list[tuple[int, int]]:
    """Pairs (found, wanted) of one class whose centres are within the tolerance, the nearest first."""
    distance = np.linalg.norm(found.boxes[:, None, :3].astype(np.float64) - wanted.boxes[None, :, :3], axis=-1)
    score = np.abs(found.scores[:, None].astype(np.float64) - wanted.scores[None])
    possible = (distance <= CENTER_TOLERANCE) & (found.labels[:, None] == wanted.labels[None])
    places = np.argwhere(possible)
    pairs: list[tuple[int, int]] = []
    taken: tuple[set[int], set[int]] = set(), set()
    keys: NDArray[np.float64] = distance[possible] + score[possible]
    for place in places[np.argsort(keys, kind="stable")]:
        f, w = int(place[0]), int(place[1])
        if f not in taken[0] and w not in taken[1]:
            pairs.append((f, w))
            taken[0].add(f)
            taken[1].add(w)
    return pairs


def groups(trained: Trained, form: ModelForm, samples: int) -> list[tuple[Batch, bool, list[str]]]:
    """The batches of the check: each with whether it begins a stream, and its tokens; the last one is filled up."""
    chosen = order(trained.dataset, samples)
    found = []
    for start in range(0, len(chosen), form.batch):
        part = chosen[start : start + form.batch]
        indices = [index for index, _ in part]
        filled = [*indices, *[indices[-1]] * (form.batch - len(indices))]
        batch = trained.dataset.collate([trained.dataset.sample(index, 0) for index in filled])
        found.append((batch, part[0][1], [trained.dataset.tokens[index] for index in indices]))
    return found


@torch.no_grad()
def measured(trained: Trained, form: ModelForm, engine: Engine, samples: int) -> Parity:
    """How far ``engine`` is from the trained model, which computes as it does in an evaluation, in float32."""
    model, outputs, boxes = trained.model, {name: _Output() for name in form.outputs()}, _Boxes()
    state: State = {}
    tokens: list[str] = []
    beginnings = 0
    with evaluating(model):
        for batch, begins, its_tokens in groups(trained, form, samples):
            if begins:
                model.begin_stream()
                state = {}
            beginnings += begins
            results = engine(form.inputs(batch, state))
            state = {taken: results[given] for given, taken in form.state.items()}
            prepare = model.preparation(training=False)
            ready = batch if prepare is None else with_prepared(batch, prepare, torch.device("cpu"))
            raw = model(ready)
            wanted: Mapping[str, Tensor] = form.of_model(raw)
            for name, output in outputs.items():
                output.add(results[name], wanted[name])
            pairs = list(zip(form.detections(results), model.decode(raw, ready), strict=True))
            for found, expected in pairs[: len(its_tokens)]:
                boxes.add(found, expected)
            tokens += its_tokens
    return Parity(
        samples=len(tokens),
        tokens=tokens,
        data=lasting_root(trained.dataset.root),
        split=trained.dataset.split,
        streams=beginnings if form.temporal else None,
        outputs=[
            OutputParity(
                name=name, max_abs=one.max_abs, scale=one.scale, max_rel=one.max_rel, tolerance=OUTPUT_TOLERANCE
            )
            for name, one in outputs.items()
        ],
        boxes=BoxParity(
            boxes=boxes.boxes,
            unmatched=boxes.unmatched,
            max_center=boxes.worst["center"],
            max_size=boxes.worst["size"],
            max_yaw=boxes.worst["yaw"],
            max_velocity=boxes.worst["velocity"],
            max_score=boxes.worst["score"],
            tolerance_center=CENTER_TOLERANCE,
            tolerance_score=SCORE_TOLERANCE,
        ),
    )


def require(parity: Parity) -> None:
    """Raise unless the check was passed.

    Raises:
        DisagreementError: a result or a box is further from the trained model's than the tolerance.
    """
    worst = max(parity.outputs, key=lambda output: output.max_rel / output.tolerance)
    cure = "Nothing was written. Report it with the run's configuration"
    if not worst.max_rel <= worst.tolerance:
        what = (
            f"the export is wrong: result {worst.name} is off by {worst.max_abs:.3g} of {worst.scale:.3g}, "
            f"{worst.max_rel:.1e} where {worst.tolerance:g} is allowed"
        )
        raise DisagreementError(what, cure=cure)
    boxes = parity.boxes
    if boxes.unmatched:
        what = f"the export is wrong: {boxes.unmatched} boxes are found by it or by the trained model alone"
        raise DisagreementError(what, cure=cure)
    if not boxes.max_score <= boxes.tolerance_score:
        what = f"the export is wrong: scores are off by {boxes.max_score:.3g}, {boxes.tolerance_score:g} is allowed"
        raise DisagreementError(what, cure=cure)
