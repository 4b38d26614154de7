"""Rows of the nuImages tables that a conversion reads.

The tables: https://github.com/nutonomy/nuscenes-devkit/blob/master/docs/schema_nuimages.md
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from portbev.errors import DataError
from portbev_nuscenes.tables.jsonrows import read_rows

TABLES = ("category", "sample_data", "object_ann", "surface_ann")
DRIVEABLE, EGO = "flat.driveable_surface", "vehicle.ego"
INDICES = {DRIVEABLE: 24, EGO: 31}
"""Categories whose number in a semantic mask is given; the others follow from their names' order."""
MOST = 23
"""Categories besides those."""

Row = TypeVar("Row", bound=msgspec.Struct)


class Mask(msgspec.Struct, gc=False):
    """A run-length encoding of COCO, whose ``counts`` are in base64; ``size`` is (height, width)."""

    size: tuple[int, int]
    counts: str


class Picture(msgspec.Struct, gc=False):
    """A row of ``sample_data``; those of lidar have no size."""

    token: str
    filename: str
    is_key_frame: bool
    width: int | None = None
    height: int | None = None


class Thing(msgspec.Struct, gc=False):
    """A row of ``object_ann``; ``bbox`` is (left, top, right, bottom) in pixels."""

    token: str
    sample_data_token: str
    category_token: str
    bbox: tuple[float, float, float, float]
    mask: Mask | None = None


class Surface(msgspec.Struct, gc=False):
    """A row of ``surface_ann``."""

    token: str
    sample_data_token: str
    category_token: str
    mask: Mask | None = None


def rows_of(root: Path, version: str, table: str, row_type: type[Row]) -> Iterator[Row]:
    """The rows of a table, in its order.

    Raises:
        DataError: there is no such table, or a row that is none.
    """
    for block in read_rows(root / version / f"{table}.json", row_type):
        yield from block


def indices_of(names: Sequence[str], where: str) -> dict[str, int]:
    """Category -> its number in a semantic mask, as the official tools number them; 0 is what nobody annotated.

    Raises:
        DataError: more categories than numbers.
    """
    others = sorted(name for name in names if name not in INDICES)
    if len(others) > MOST:
        what = f"{len(others)} categories besides {', '.join(INDICES)}, and there are numbers for {MOST}"
        raise DataError(what, where=where, cure="Take the category table of nuImages as it is published")
    return {**{name: number for number, name in enumerate(others, 1)}, **INDICES}
