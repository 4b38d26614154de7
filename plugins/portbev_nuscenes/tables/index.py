"""The tables of a version as arrays: samples, key frames, calibrations, poses, boxes."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev_nuscenes.tables.rows import reference_channel


@dataclass(frozen=True)
class Index:
    """All scenes of a version. Samples are ordered by scene (table order), then by time.

    S samples, C channels (the cameras and LIDAR_TOP), F frames, K calibrations, G boxes. Strings are UTF-8 bytes.

    Attributes:
        scenes: names of the scenes.
        sample_token, sample_scene, sample_time: (S,) token, index into ``scenes``, microseconds.
        sample_before: (S,) index of the sample that ``prev`` names; -1 for none, -2 for one that does not exist.
        channels: (C,) channel names.
        key_frames: (S, C) row of the key frame in the ``frame_*`` arrays, -1 where there is none.
        frame_file: (F,) path below the data root. frame_sample, frame_channel, frame_calibration: (F,) indices.
        frame_size: (F, 2) width and height of the picture as the tables say, 0 where they do not.
        frame_time: (F,) microseconds. frame_rotation (F, 4), frame_translation (F, 3): ego pose, ego to global.
        calibration_rotation (K, 4), calibration_translation (K, 3): sensor to ego; calibration_intrinsic (K, 3, 3):
            zero for lidar.
        box_start: (S + 1,) the boxes of sample s are the rows box_start[s] to box_start[s + 1].
        box_category: (G,) index into ``categories``. box_instance: (G,) a number per object, the same in all samples.
        box_translation (G, 3) centre, box_size (G, 3) width, length, height, box_rotation (G, 4): global frame.
        box_velocity: (G, 3) m/s, global, NaN where unknown. box_points: (G, 2) lidar and radar points inside.
        box_attribute: (G,) index into ``attributes``, -1 for none.
    """

    scenes: NDArray[np.bytes_]
    sample_token: NDArray[np.bytes_]
    sample_scene: NDArray[np.int32]
    sample_time: NDArray[np.float64]
    sample_before: NDArray[np.int64]
    channels: NDArray[np.bytes_]
    key_frames: NDArray[np.int64]
    frame_file: NDArray[np.bytes_]
    frame_sample: NDArray[np.int32]
    frame_channel: NDArray[np.int16]
    frame_calibration: NDArray[np.int32]
    frame_size: NDArray[np.int32]
    frame_time: NDArray[np.float64]
    frame_rotation: NDArray[np.float64]
    frame_translation: NDArray[np.float64]
    calibration_rotation: NDArray[np.float64]
    calibration_translation: NDArray[np.float64]
    calibration_intrinsic: NDArray[np.float64]
    categories: NDArray[np.bytes_]
    attributes: NDArray[np.bytes_]
    box_start: NDArray[np.int64]
    box_category: NDArray[np.int16]
    box_instance: NDArray[np.int64]
    box_translation: NDArray[np.float64]
    box_size: NDArray[np.float64]
    box_rotation: NDArray[np.float64]
    box_velocity: NDArray[np.float64]
    box_points: NDArray[np.int32]
    box_attribute: NDArray[np.int16]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def channel(self, name: str) -> int:
        """Column of a channel in ``key_frames``.

        Raises:
            DataError: the version has no such channel.
        """
        names = [channel.decode() for channel in self.channels]
        if name not in names:
            raise DataError(f"no sensor {name!r} in the tables", where="sensor.json", cure=f"Known: {', '.join(names)}")
        return names.index(name)

    def reference(self) -> int:
        """Column of the sensor at whose ego poses detections are scored.

        Raises:
            DataError: the version has neither LIDAR_TOP nor a camera.
        """
        channels = [name.decode() for name in self.channels]
        return channels.index(reference_channel(channels, channels))  # without LIDAR_TOP all of them are cameras

    def samples_of(self, scenes: tuple[str, ...]) -> NDArray[np.int64]:
        """Samples of the named scenes, in the index's order."""
        names = {name.encode() for name in scenes}
        chosen = np.array([name in names for name in self.scenes.tolist()], bool)
        return np.flatnonzero(chosen[self.sample_scene]) if len(self.scenes) else np.zeros(0, np.int64)

    def token(self, sample: int) -> str:
        """Token of a sample."""
        return str(self.sample_token[sample].decode())

    def files(self, frames: NDArray[np.int64]) -> list[str]:
        """Paths of frames below the data root."""
        return [file.decode() for file in self.frame_file[frames].tolist()]

    def boxes_of(self, samples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Rows of the ``box_*`` arrays that belong to the samples, each once."""
        ranges = [np.arange(*self.box_start[sample : sample + 2]) for sample in np.unique(samples)]
        return np.concatenate(ranges) if ranges else np.zeros(0, np.int64)

    def previous(self, sample: int, steps: int) -> int | None:
        """The sample ``steps`` key frames earlier in the same scene; None where there is none."""
        before = sample - steps
        return before if before >= 0 and self.sample_scene[before] == self.sample_scene[sample] else None

    def sweeps(self, sample: int, channel: str, count: int) -> list[int]:
        """The last ``count`` frames of a channel before a sample's key frame, in the same scene, newest first.

        Earlier key frames are among them. At the beginning of a scene there are fewer. The index must have been built
        with sweeps.
        """
        column = self.channel(channel)
        key = int(self.key_frames[sample, column])
        if key < 0:
            return []
        same_scene = self.sample_scene[self.frame_sample] == self.sample_scene[sample]
        earlier = (self.frame_channel == column) & same_scene & (self.frame_time < self.frame_time[key])
        frames = np.flatnonzero(earlier)
        return [int(row) for row in frames[np.argsort(-self.frame_time[frames], kind="stable")][:count]]
