"""The JSON file format of boxes, ``portbev.radial/1``.

::

    {"schema": "portbev.radial/1", "kind": "predictions",
     "columns": ["x", "y", "z_bottom", "dx", "dy", "dz", "yaw", "score"],
     "meta": {}, "frames": {"000123": [[21.5, -3.2, -1.6, 4.5, 1.9, 1.6, 0.02, 0.93]], "000124": []}}

``kind`` is ``predictions`` or ``ground_truth``, whose rows have no score. Every frame has an entry; it may be empty.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portbev.errors import ResultsError
from portbev.files import parse_json, write_json
from portbev_radial.metrics.boxes import FrameBoxes, frame_boxes
from portbev_radial.metrics.constants import PREDICTION_COLUMNS, TRUTH_COLUMNS

SCHEMA = "portbev.radial/1"


def write_boxes(path: Path | str, boxes: FrameBoxes, *, meta: Mapping[str, Any] | None = None) -> None:
    """Write boxes atomically. Numbers are written so that they read back bit-equal.

    Raises:
        PortbevError: the file cannot be written.
    """
    document = {
        "schema": SCHEMA,
        "kind": _kind(boxes.scored),
        "columns": list(_columns(boxes.scored)),
        "meta": dict(meta or {}),
        "frames": {name: rows.tolist() for name, rows in zip(boxes.frames, boxes.arrays(), strict=True)},
    }
    write_json(path, document, indent=None)


def read_boxes(path: Path | str, *, scored: bool) -> FrameBoxes:
    """Read predictions (``scored``) or ground truth.

    Raises:
        ResultsError: no such file, not JSON, another schema or kind; a repeated frame; a box that is no row of finite
            numbers; names the frame.
    """
    path = Path(path)
    document = _load(path)
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        actual = document.get("schema") if isinstance(document, dict) else type(document).__name__
        cure = f'The file starts with {{"schema": "{SCHEMA}", "kind": "{_kind(scored)}", ...'
        raise ResultsError(f"the schema is {actual!r}, expected {SCHEMA!r}", where=str(path), cure=cure)
    if document.get("kind") != _kind(scored):
        message = f"holds {document.get('kind')!r}, expected {_kind(scored)!r}"
        raise ResultsError(message, where=str(path), cure="Are predictions and ground truth swapped?")
    if document.get("columns") != list(_columns(scored)):
        raise ResultsError(f"the columns are {document.get('columns')}", where=str(path), cure=_expected(scored))
    frames = document.get("frames")
    if not isinstance(frames, dict):
        cure = "Frames are an object: the frame's name -> list of boxes"
        raise ResultsError("has no frames", where=str(path), cure=cure)
    try:
        for name, rows in frames.items():
            _check_rows(name, rows, scored)
        return frame_boxes(frames.values(), tuple(frames), scored=scored)
    except ResultsError as error:
        raise ResultsError(error.what, where=f"{path}: {error.where}", cure=error.cure) from error


def _check_rows(name: str, rows: Any, scored: bool) -> None:
    width = len(_columns(scored))
    if not isinstance(rows, list):
        raise ResultsError(f"boxes are a {type(rows).__name__}, expected a list", where=f"frame {name}")
    for index, row in enumerate(rows):
        where = f"frame {name}, box {index}"
        if not isinstance(row, list) or len(row) != width:
            actual = f"{len(row)} numbers" if isinstance(row, list) else f"a {type(row).__name__}"
            raise ResultsError(f"is {actual}, expected {width}", where=where, cure=_expected(scored))
        for value in row:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ResultsError(f"{value!r} is no number", where=where, cure=_expected(scored))


def _load(path: Path) -> Any:
    try:
        return parse_json(path.read_bytes(), object_pairs_hook=_unique)
    except OSError as error:
        raise ResultsError(f"cannot read the boxes ({error.strerror})", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        cure = f"A file of boxes is {SCHEMA} JSON, or the original's results_3d.npy"
        raise ResultsError(f"not JSON ({error})", where=str(path), cure=cure) from error
    except ResultsError as error:
        raise ResultsError(error.what, where=f"{path}: {error.where}") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict.

    Raises:
        ResultsError: a repeated key.
    """
    members: dict[str, Any] = {}
    for key, value in pairs:
        if key in members:
            raise ResultsError("appears twice", where=f"key {key}")
        members[key] = value
    return members


def _kind(scored: bool) -> str:
    return "predictions" if scored else "ground_truth"


def _columns(scored: bool) -> tuple[str, ...]:
    return PREDICTION_COLUMNS if scored else TRUTH_COLUMNS


def _expected(scored: bool) -> str:
    return f"A row is {' '.join(_columns(scored))}"
