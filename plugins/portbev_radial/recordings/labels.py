"""RADIal's label tables; their fields are kept as text.

``labels.csv`` gives the sequence and frame of each sample, and a point for each object; a row of -1 is a frame without
objects. ``radial_bbox_labels.csv`` has re-annotated boxes (Liu et al., "Echoes Beyond Points", 2023).
"""

from __future__ import annotations

import codecs
import csv
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath
from portbev_radial.recordings.layout import BOXES

LABEL_COLUMNS = (
    "numSample", "x1_pix", "y1_pix", "x2_pix", "y2_pix", "laser_X_m", "laser_Y_m", "laser_Z_m",
    "radar_X_m", "radar_Y_m", "radar_R_m", "radar_A_deg", "radar_D_mps", "radar_P_db", "dataset", "index", "Difficult",
)  # fmt: skip
"""radar_X_m is to the right, radar_Y_m forward; the index counts the synchronised frames of the sequence."""

BOX_COLUMNS = ("numSample", "X", "Y", "Z", "dimX", "dimY", "dimZ", "rotation_y", "class")
"""Geometric centre and extents in metres, yaw in radians; radar frame, x forward, y left, z up. Class -1: no object."""

NO_BOX = ("-1",) * (len(BOX_COLUMNS) - 1)
CONVERT_AGAIN = "Remove the file and convert again"
ABSENT = "nan"
"""Stands in the rows of a label for a column that the table does not have."""

_NEEDED = ("numSample", "dataset", "index")
_ALIASES = {"radar_D_mps": "radar_D", "radar_P_db": "radar_P", "Difficult": "Annotation"}
_SEPARATORS = ",;\t"


@dataclass(frozen=True)
class Label:
    """One labelled frame.

    Attributes:
        number: its numSample.
        sequence, index: folder, and index among the folder's synchronised frames.
        rows: its rows in labels.csv, all 17 fields as text, :data:`ABSENT` where the table lacks the column.
    """

    number: int
    sequence: str
    index: int
    rows: list[tuple[str, ...]] = field(default_factory=list)


def read_labels(path: DataPath, notes: list[str] | None = None) -> tuple[dict[int, Label], list[str]]:
    """Labels by numSample in ascending order, and a line for each row that cannot be used.

    Of the columns only numSample, dataset and index are needed. ``notes`` gets a line on those that are absent.

    Raises:
        DataError: the file is missing or lacks a column that is needed.
    """
    labels: dict[int, Label] = {}
    problems: list[str] = []
    dataset, index = LABEL_COLUMNS.index("dataset"), LABEL_COLUMNS.index("index")
    absent: list[str] = []
    for line, row in _rows(path, LABEL_COLUMNS, problems, needed=_NEEDED, aliases=_ALIASES, absent=absent):
        try:
            label = Label(_whole(row[0]), row[dataset], _whole(row[index]))
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}; the row is left out")
            continue
        first = labels.setdefault(label.number, label)
        if (first.sequence, first.index) != (label.sequence, label.index):
            conflict = f"sample {label.number} is frame {first.index} of {first.sequence} in an earlier row"
            problems.append(f"{path}:{line}: {conflict}; the row is left out")
            continue
        first.rows.append(row)
    if absent and notes is not None:
        notes.append(f"{path} has no column {', '.join(absent)}: {ABSENT} stands for it in converted labels")
    return dict(sorted(labels.items())), problems


def read_boxes(path: DataPath) -> tuple[dict[int, list[tuple[str, ...]]], list[str]]:
    """Box rows by numSample, without the numSample, and a line for each row that cannot be used.

    Raises:
        DataError: the file is missing or lacks a column.
    """
    boxes: dict[int, list[tuple[str, ...]]] = {}
    problems: list[str] = []
    for line, row in _rows(path, BOX_COLUMNS, problems, needed=BOX_COLUMNS):
        try:
            number = _whole(row[0])
            values = [float(token) for token in row[1:]]
            if not all(np.isfinite(values)):
                raise ValueError("a number is not finite")
        except ValueError as error:
            problems.append(f"{path}:{line}: {error}; the row is left out")
            continue
        boxes.setdefault(number, []).append(NO_BOX if values[-1] == -1 else row[1:])
    return boxes, problems


def read_box_file(path: DataPath) -> list[tuple[str, ...]]:
    """Rows of a ``labels_x`` file: x y z dx dy dz yaw and possibly more fields.

    Raises:
        DataError: missing file, or a row that is no box.
    """
    try:
        rows = [tuple(line.split()) for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
        for row in rows:
            if len(row) < 7:
                raise ValueError(f"a row has {len(row)} fields, expected at least 7")
            [float(token) for token in row[:7]]
    except FileNotFoundError as error:
        raise DataError("file is missing", where=str(path), cure="Check the data root") from error
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", where=str(path), cure=CONVERT_AGAIN) from error
    return rows


def is_empty(rows: list[tuple[str, ...]]) -> bool:
    """Whether rows of boxes hold no object: EchoFusion's rule is that the second field of each is ``-1``."""
    return all(row[1] == "-1" for row in rows)


def box_array(rows: list[tuple[str, ...]]) -> NDArray[np.float64]:
    """(n, 9) boxes [x y z dx dy dz yaw vx vy] of the rows that are objects; RADIal has no velocities, so they are 0.

    A row of -1 among rows of objects is left out; the original keeps it as a box (see :func:`is_empty`).
    """
    kept = (
        []
        if is_empty(rows)
        else [[float(token) for token in row[:7]] for row in rows if not set(row[:7]) <= {"-1", "-1.0"}]
    )
    boxes = np.zeros((len(kept), 9))
    if kept:
        boxes[:, :7] = kept
    return boxes


def _rows(
    path: DataPath,
    columns: tuple[str, ...],
    problems: list[str],
    *,
    needed: Collection[str],
    aliases: Mapping[str, str] | None = None,
    absent: list[str] | None = None,
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the number of each line of a table and its fields in the order of ``columns``.

    The separator is a comma, a semicolon or a tab; fields may be quoted. With another separator than a comma, numbers
    may have decimal commas. Each line is parsed by itself, so that an unclosed quotation mark costs its own line.

    Args:
        needed: the columns without which there is no reading.
        aliases: column -> another name that it may have.
        absent: gets the names of columns that the table lacks.
        problems: gets a line for each line with too few fields.
    """
    lines = _text(path).splitlines()
    first = next((line for line in lines if line.strip()), "")
    separator = max(_SEPARATORS, key=first.count)
    header = [name.strip().casefold() for name in _fields(first, separator)]
    positions = []
    for name in columns:
        names = [n.casefold() for n in (name, (aliases or {}).get(name, name))]
        column = next((header.index(n) for n in names if n in header), -1)
        if column < 0 and name in needed:
            message = f"no column {name!r}, there are: {first.strip() or 'none'}"
            raise DataError(message, where=str(path), cure="Check that this is the right table")
        if column < 0 and absent is not None:
            absent.append(name)
        if column >= 0 and header.count(header[column]) > 1:
            raise DataError(f"has the column {name!r} twice", where=str(path), cure="Remove one of them")
        positions.append(column)
    begun = False
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        if not begun:  # the header
            begun = True
            continue
        fields = [token.strip() for token in _fields(line, separator)]
        if len(fields) <= max(positions):
            problems.append(f"{path}:{number}: {len(fields)} fields, expected {len(header)}; the row is left out")
            continue
        if separator != ",":
            fields = [token.replace(",", ".") for token in fields]
        yield number, tuple(ABSENT if position < 0 else fields[position] for position in positions)


def _text(path: DataPath) -> str:
    """The text of a table: UTF-8, or UTF-16 that says so at its beginning."""
    try:
        data = path.read_bytes()
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        return data.decode("utf-16" if utf16 else "utf-8-sig")
    except FileNotFoundError as error:
        boxes = "EchoFusion's repository has it; data.boxes (--boxes) may name it elsewhere"
        cure = boxes if path.name == BOXES else "The data root is the folder with labels.csv or labels_CVPR.csv"
        raise DataError("label table is missing", where=str(path), cure=cure) from error
    except UnicodeDecodeError as error:
        raise DataError(f"is no text in UTF-8: {error}", where=str(path), cure="Save the table as UTF-8") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path)) from error


def _fields(line: str, separator: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator), [])
    except csv.Error:
        return line.split(separator)


def _whole(token: str) -> int:
    """The non-negative whole number that ``token`` is; raises ValueError for anything else."""
    value = float(token)
    if not (0 <= value < 1e15 and value == int(value)):
        raise ValueError(f"{token!r} is no sample number or index")
    return int(value)
