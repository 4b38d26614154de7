"""Detection submissions read into arrays.

A few thousand boxes at a time become arrays, so that the Python objects of a whole submission never exist together.
"""

from __future__ import annotations

import json
import mmap
from collections.abc import Sequence
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from portbev.errors import ResultsError
from portbev_nuscenes.classes import ATTRIBUTES, DETECTION_CLASSES, MAX_BOXES_PER_SAMPLE
from portbev_nuscenes.metrics.arrays import PredictionArrays
from portbev_nuscenes.metrics.boxstream import Box, BoxStream, MarkedBox, UnusualError
from portbev_nuscenes.metrics.checks import check_predictions, explain_boxes, too_many
from portbev_nuscenes.metrics.constants import mark_constants, unmarked, with_constants
from portbev_nuscenes.tables.jsonrows import no_collection

_LABEL = {name: index for index, name in enumerate(DETECTION_CLASSES)}
_ATTRIBUTE = {"": -1} | {name: index for index, name in enumerate(ATTRIBUTES)}
_BLOCK = 8192


class _Submission(msgspec.Struct):
    results: dict[str, msgspec.Raw]
    meta: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


_decode_boxes = msgspec.json.Decoder(list[Box]).decode
_decode_marked = msgspec.json.Decoder(list[MarkedBox]).decode
_vectors = attrgetter("translation", "size", "rotation", "velocity")
_flat = chain.from_iterable


def load_predictions(path: Path | str, *, max_boxes_per_sample: int = MAX_BOXES_PER_SAMPLE) -> PredictionArrays:
    """Read a nuScenes detection submission. Rows are in the order of the file.

    Raises:
        ResultsError: no such file, not JSON, no ``meta`` or ``results``; or the first box that cannot be scored, with
            its sample and its index there.
    """
    path = Path(path)
    with no_collection():
        try:
            predictions = _read_usual(path, max_boxes_per_sample)
        except UnusualError:
            predictions = _read_any(path, max_boxes_per_sample)
        except OSError as error:
            raise ResultsError(f"cannot read the results ({error.strerror})", where=str(path)) from error
    check_predictions(predictions, max_boxes_per_sample=max_boxes_per_sample)
    return predictions


def _read_usual(path: Path, max_boxes_per_sample: int) -> PredictionArrays:
    builder = _Builder(str(path), max_boxes_per_sample)
    stream = BoxStream(path)
    for samples in stream:
        for token, boxes in samples.items():
            builder.add(token, boxes)
        builder.convert()
    if len(set(builder.tokens)) < len(builder.tokens):
        raise UnusualError
    return builder.finish(stream.meta)


def _read_any(path: Path, max_boxes_per_sample: int) -> PredictionArrays:
    """Read any JSON: the mapped file is split into samples, and their boxes are then decoded sample by sample."""
    content, submission, marked = _split(path)
    decode = _decode_marked if marked else _decode_boxes
    builder = _Builder(str(path), max_boxes_per_sample)
    for token, raw in submission.results.items():
        boxes: Sequence[Box]
        try:
            boxes = decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            boxes = _repair(bytes(raw), token, str(path), error)
        builder.add(token, boxes)
        if len(builder.boxes) >= _BLOCK:
            builder.convert()
            if not marked:
                _release_pages(content)
    return builder.finish(submission.meta)


class _Builder:
    """Collects boxes and converts them to arrays, block by block."""

    def __init__(self, source: str, max_boxes_per_sample: int) -> None:
        self.source, self.limit = source, max_boxes_per_sample
        self.tokens: list[str] = []
        self.boxes: list[Box] = []
        self.counts: list[int] = []
        self.blocks: list[dict[str, np.ndarray]] = []
        self.strays: list[tuple[int, str]] = []  # row and sample_token of boxes that are listed under another sample
        self.rows = 0

    def add(self, token: str, boxes: Sequence[Box]) -> None:
        """Add the boxes of the next sample."""
        if len(boxes) > self.limit:
            raise too_many(self.source, token, len(boxes), self.limit)
        box_tokens = [box.sample_token for box in boxes]
        if box_tokens.count(token) != len(box_tokens):
            self.strays += [(self.rows + row, other) for row, other in enumerate(box_tokens) if other != token]
        self.rows += len(boxes)
        self.tokens.append(token)
        self.counts.append(len(boxes))
        self.boxes += boxes

    def convert(self) -> None:
        """Convert the collected boxes to a block of arrays; all boxes must be of one type."""
        boxes, count = self.boxes, len(self.boxes)
        if boxes and isinstance(boxes[0], MarkedBox):
            for box in boxes:
                x, y = box.velocity
                if isinstance(x, str) or isinstance(y, str):
                    box.velocity = unmarked(x), unmarked(y)
        numbers = np.fromiter(_flat(_flat(map(_vectors, boxes))), np.float64, 12 * count).reshape(-1, 12)
        block = {
            "translation": numbers[:, 0:3],
            "size": numbers[:, 3:6],
            "rotation": numbers[:, 6:10],
            "velocity": numbers[:, 10:12],
        }
        block = {name: np.ascontiguousarray(column) for name, column in block.items()}
        block["score"] = np.fromiter([box.detection_score for box in boxes], np.float64, count)
        block["num_pts"] = np.fromiter([box.num_pts for box in boxes], np.float64, count)
        # -2 marks an unknown name
        block["label"] = np.fromiter([_LABEL.get(box.detection_name, -2) for box in boxes], np.int8, count)
        block["attribute"] = np.fromiter([_ATTRIBUTE.get(box.attribute_name, -2) for box in boxes], np.int8, count)
        unknown = np.flatnonzero((block["label"] == -2) | (block["attribute"] == -2))
        if len(unknown):
            self._explain(int(unknown[0]))
        self.blocks.append(block)
        self.boxes = []

    def _explain(self, position: int) -> None:
        """Raise for a box of the current block whose class or attribute is unknown."""
        row = self.rows - len(self.boxes) + position
        starts = np.cumsum([0, *self.counts])
        sample = int(np.searchsorted(starts, row, "right")) - 1
        token = self.tokens[sample]
        first = int(starts[sample]) - (self.rows - len(self.boxes))
        start = max(first, 0)
        boxes = [msgspec.structs.asdict(box) for box in self.boxes[start : start + self.counts[sample]]]
        explain_boxes(with_constants(boxes), token, self.source)

    def finish(self, meta: dict[str, Any] | msgspec.UnsetType) -> PredictionArrays:
        """The arrays of all boxes added."""
        if meta is msgspec.UNSET:
            cure = 'Add "meta": {"use_camera": true, "use_lidar": false, ...} beside "results"'
            raise ResultsError('"meta" is missing', where=self.source, cure=cure)
        self.convert()
        columns = {name: self._column(name) for name in list(self.blocks[0])}
        points = columns.pop("num_pts")
        sample_index = np.repeat(np.arange(len(self.counts)), self.counts)
        lookup = None
        if self.strays:
            position = {token: index for index, token in enumerate(self.tokens)}
            lookup = sample_index.copy()
            for row, token in self.strays:
                lookup[row] = position.get(token, -1)
        return PredictionArrays(
            sample_tokens=tuple(self.tokens),
            sample_index=sample_index,
            **columns,
            num_pts=None if (points == -1).all() else np.trunc(points).astype(np.int64),
            lookup_index=lookup,
            meta=meta,
            source=self.source,
        )

    def _column(self, name: str) -> np.ndarray:
        """One column of all blocks. It is removed from the blocks, so that only one column exists twice in memory."""
        return np.concatenate([block.pop(name) for block in self.blocks])


def _split(path: Path) -> tuple[mmap.mmap, _Submission, bool]:
    """The mapped file, the submission with the boxes of every sample left as text, and whether the text has marks."""
    content = _open(path, mmap.ACCESS_READ)
    try:
        return content, _decode_top(content, path), False
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        # Python writes NaN and Infinity, which are not JSON; a NaN velocity is valid here and means unknown
        content = _open(path, mmap.ACCESS_COPY)
        if not mark_constants(content):
            raise _damaged(path, error) from error
    try:
        return content, _decode_top(content, path), True
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> ResultsError:
    return ResultsError(f"damaged or truncated JSON ({error})", where=str(path))


def _open(path: Path, access: int) -> mmap.mmap:
    try:
        with open(path, "rb") as file:
            return mmap.mmap(file.fileno(), 0, access=access)
    except ValueError as error:
        raise ResultsError("the file is empty", where=str(path)) from error
    except OSError as error:
        raise ResultsError(f"cannot read the results ({error.strerror})", where=str(path)) from error


def _decode_top(content: mmap.mmap, path: Path) -> _Submission:
    try:
        submission = msgspec.json.decode(content, type=_Submission)
    except msgspec.ValidationError as error:
        cure = 'It needs {"meta": {...}, "results": {sample token: [boxes]}}'
        raise ResultsError(f"not a detection submission ({error})", where=str(path), cure=cure) from error
    return submission


def _repair(raw: bytes, token: str, source: str, error: Exception) -> list[Box]:
    """Decode boxes that only Python's JSON parser accepts, or raise an error that says what is wrong with them."""
    try:
        boxes = json.loads(raw)
    except ValueError:
        raise ResultsError(f"damaged JSON ({error})", where=f"{source}: sample {token}") from error
    explain_boxes(with_constants(boxes), token, source)
    try:
        return msgspec.convert(boxes, list[Box])
    except msgspec.ValidationError as problem:
        raise ResultsError(str(problem), where=f"{source}: sample {token}") from problem


def _release_pages(content: mmap.mmap) -> None:
    """Release the mapped pages, which otherwise count as memory of this process."""
    if hasattr(mmap, "MADV_DONTNEED"):
        content.madvise(mmap.MADV_DONTNEED)
