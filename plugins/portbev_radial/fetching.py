"""What RADIal's release holds: a folder of sequences, not a list of archives with names of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from portbev.data.fetching import Piece
from portbev.errors import ConfigError, nearest
from portbev.paths import DataPath
from portbev_radial.recordings.layout import (
    BOXES,
    CAMERA_CALIBRATION,
    LABEL_TABLES,
    PREFIX,
    RADAR_CALIBRATION,
    SPLITS,
    TEST_SEQUENCES,
    VAL_SEQUENCES,
)

_LINK = "github.com/valeoai/RADIal has the link"


class RadialFetching:
    """The raw recordings of RADIal."""

    versions = ("raw",)
    source = "none was published"

    def pieces(self, version: str, splits: Sequence[str]) -> list[Piece]:
        """See :class:`portbev.data.fetching.Fetching`."""
        for split in splits:
            if split not in SPLITS:
                raise ConfigError(f"no split {split!r}", where="--splits", cure=nearest(split, SPLITS, label="Splits"))
        named = {"val": VAL_SEQUENCES, "test": TEST_SEQUENCES}
        pieces = [
            _recording(f"{PREFIX}{sequence}", f"a sequence of {split}")
            for split in splits
            for sequence in named.get(split, ())
        ]
        if "train" in splits:
            pieces.append(_recording(f"{PREFIX}*", f"every other sequence that the labels name; {_LINK}"))
        return [
            Piece(LABEL_TABLES[1], "labels: which frame is which sample", shown_by=LABEL_TABLES),
            Piece(BOXES, "boxes, annotated anew; in EchoFusion's repository", shown_by=(BOXES,)),
            _calibration(CAMERA_CALIBRATION, "the camera's calibration"),
            _calibration(RADAR_CALIBRATION, "the radar's calibration, for data.radar=ra and pc", optional=True),
            *pieces,
        ]

    def files(self, root: DataPath, version: str, splits: Sequence[str], section: Any) -> list[str]:
        """None: a recording is as many samples as its log says; the check reads it."""
        return []


def _recording(name: str, holds: str) -> Piece:
    return Piece(name, holds, shown_by=(name,))


def _calibration(name: str, holds: str, *, optional: bool = False) -> Piece:
    return Piece(name, holds, optional=optional, shown_by=(name, f"calibs/{name}"))
