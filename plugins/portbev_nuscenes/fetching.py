"""The files of nuScenes' release: which a split needs, and which sensor files that is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from portbev.data.fetching import Piece
from portbev.errors import ConfigError, DataError
from portbev.paths import DataPath
from portbev_nuscenes.config import NuscenesData, NuscenesQueueData
from portbev_nuscenes.tables.cache import load_index
from portbev_nuscenes.tables.rows import LIDAR
from portbev_nuscenes.tables.splits import OFFICIAL_SPLITS, VERSION_OF, find_split

_BLOBS = (29.41, 28.06, 27.81, 29.87, 26.25, 25.61, 27.50, 28.19, 31.21, 38.87)
_KEYFRAMES = {1: 4.22}
_CAN_BUS = Piece("can_bus.zip", "the vehicle's motion, for BEVFormer", optional=True, shown_by=("can_bus/*_pose.json",))


class NuscenesFetching:
    """nuScenes v1.0."""

    versions = ("v1.0-trainval", "v1.0-mini", "v1.0-test")
    source = "nuscenes.org's download page, as public pages quote it"

    def pieces(self, version: str, splits: Sequence[str]) -> list[Piece]:
        """See :class:`portbev.data.fetching.Fetching`."""
        for split in splits:
            if split in OFFICIAL_SPLITS and not version.endswith(VERSION_OF[split]):
                what = f"split {split!r} belongs to v1.0-{VERSION_OF[split]}, not to {version}"
                raise ConfigError(what, where="--splits", cure=f"Set --version v1.0-{VERSION_OF[split]}")
        tables = (f"{version}/sample.json",)
        if version == "v1.0-mini":
            return [Piece("v1.0-mini.tgz", "tables and sensor files of 10 scenes", 3.88, shown_by=tables), _CAN_BUS]
        if version == "v1.0-test":
            return [
                Piece("v1.0-test_meta.tgz", "tables, without annotations", shown_by=tables),
                Piece("v1.0-test_blobs.tgz", "sensor files of 150 scenes", sensors=True),
                _CAN_BUS,
            ]
        return [
            Piece("v1.0-trainval_meta.tgz", "tables of 850 scenes", 0.43, shown_by=tables),
            *(self._blob(number, size) for number, size in enumerate(_BLOBS, 1)),
            _CAN_BUS,
        ]

    def _blob(self, number: int, size: float) -> Piece:
        """A part of trainval; its key frames alone are enough, and half of them may come as two archives."""
        name = f"v1.0-trainval{number:02d}"
        told = f" ({_KEYFRAMES[number]} GB)" if number in _KEYFRAMES else ""
        holds = f"sensor files of 85 scenes; {name}_keyframes.tgz{told} is enough"
        same = (f"{name}_keyframes.tgz", f"{name}_blobs.*", f"{name}_keyframes.*")
        return Piece(f"{name}_blobs.tgz", holds, size, same=same, sensors=True)

    def files(self, root: DataPath, version: str, splits: Sequence[str], section: Any) -> list[str]:
        """See :class:`portbev.data.fetching.Fetching`: pictures and lidar files of key frames."""
        if not (root / version / "sample.json").is_file():
            return []
        try:
            index = load_index(root, version)
        except DataError:
            return []  # the check says what is wrong with the tables
        cameras = set(section.cameras) if isinstance(section, NuscenesData | NuscenesQueueData) else None
        columns = [
            place
            for place, name in enumerate(name.decode() for name in index.channels)
            if name == LIDAR or cameras is None or name in cameras
        ]
        names = {name for split in splits for name in find_split(split, root, version).scenes}
        frames = np.unique(index.key_frames[index.samples_of(tuple(names))][:, columns])
        return [file.decode() for file in index.frame_file[frames[frames >= 0]].tolist()]
