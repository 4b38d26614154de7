"""One recorded sequence: its frames, and the sensors' data, which is decoded on request."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath, as_path
from portbev_radial.recordings.layout import (
    CAMERA,
    CAN,
    LIDAR,
    LOG_ENDING,
    MASTER,
    RADAR_CHIPS,
    TOLERANCE,
    log_file,
    sensor_file,
)
from portbev_radial.recordings.log import read_log
from portbev_radial.recordings.sensors import (
    check_extent,
    check_radar_size,
    read_can,
    read_jpeg,
    read_lidar,
    read_radar_chip,
    read_video_frame,
)
from portbev_radial.recordings.sync import Frame, synchronise


class Recording:
    """A sequence's folder. The constructor reads only the log.

    Args:
        folder: ``RECORD@...``; read only.
        tolerance: microseconds between a radar frame and the other sensors' events.

    Attributes:
        frames: the synchronised frames; the index of a label is an index into them.
        problems: a line for each event of the log that is left out.
        dropped: the radar frames without partner events; recordings often begin with one.
        stem: what the names of its files begin with, which is the folder's name unless that was changed.

    Raises:
        DataError: there is no log.
    """

    def __init__(self, folder: DataPath, *, tolerance: int = TOLERANCE) -> None:
        self.folder = as_path(folder)
        path = log_file(self.folder)
        self.stem = path.name.removesuffix(LOG_ENDING)
        self._log = read_log(path)
        table = synchronise(self._log, path, tolerance)
        self.frames = table.frames
        self.problems, self.dropped = self._log.problems, table.dropped

    def __len__(self) -> int:
        return len(self.frames)

    def frame(self, index: int) -> Frame:
        """The frame with the index of a label.

        Raises:
            DataError: there is no such frame, or its log line is damaged.
        """
        if not 0 <= index < len(self.frames):
            message = f"frame {index} does not exist: {len(self.frames)} frames are synchronised"
            raise DataError(message, where=str(self.folder), cure="Check that log and labels belong together")
        frame = self.frames[index]
        if frame.fault:
            raise DataError(f"frame {index} cannot be read: {frame.fault}", where=str(log_file(self.folder)))
        return frame

    def check(self, index: int, sensors: tuple[str, ...], values: int) -> None:
        """Check the files of some sensors of a frame without reading them.

        Raises:
            DataError: a file that is missing or too short, or a radar event that does not have ``values`` int16.
        """
        frame = self.frame(index)
        for sensor in sensors:
            offset, size, _ = self._locate(frame, sensor)
            path = self._file(sensor)
            if sensor in RADAR_CHIPS:
                check_radar_size(path, offset, size, values)
            if offset >= 0:
                check_extent(path, offset, size)

    def radar(self, index: int, values: int) -> NDArray[np.int16]:
        """(4, values) int16 samples of chips 0 to 3, I and Q interleaved.

        Raises:
            DataError: a file that is missing or truncated, or frames of another size.
        """
        frame = self.frame(index)
        chips = np.empty((len(RADAR_CHIPS), values), np.int16)
        for row, sensor in enumerate(RADAR_CHIPS):
            offset, size, _ = self._locate(frame, sensor)
            chips[row] = read_radar_chip(self._file(sensor), offset, size, values)
        return chips

    def camera(self, index: int) -> NDArray[np.uint8]:
        """(H, W, 3) blue green red picture.

        If the log has no offsets, the file is a video, and the sample number is the number of the frame, from 0.

        Raises:
            DataError: missing, truncated or damaged.
        """
        offset, size, sample = self._locate(self.frame(index), CAMERA)
        path = self._file(CAMERA)
        return read_video_frame(path, sample) if offset < 0 else read_jpeg(path, offset, size)

    def lidar(self, index: int) -> NDArray[np.float32]:
        """(n, 11) float32: x y z [m] intensity distance elevation azimuth and four bytes, layer first."""
        offset, size, _ = self._locate(self.frame(index), LIDAR)
        return read_lidar(self._file(LIDAR), offset, size)

    def can(self, index: int) -> NDArray[np.void]:
        """(n,) CAN messages of the event nearest to the frame."""
        offset, size, _ = self._locate(self.frame(index), CAN)
        return read_can(self._file(CAN), offset, size)

    def time(self, index: int) -> int:
        """Corrected timestamp of a frame, microseconds."""
        return self.frame(index).time

    @property
    def period(self) -> float | None:
        """Median time between radar frames of the log, kept or not, in seconds; None if there are fewer than two."""
        times = self._log.events[MASTER].time if MASTER in self._log.events else np.empty(0, np.int64)
        return float(np.median(np.diff(times))) / 1e6 if len(times) > 1 else None

    def _file(self, sensor: str) -> DataPath:
        return sensor_file(self.folder, sensor, self.stem)

    def _locate(self, frame: Frame, sensor: str) -> tuple[int, int, int]:
        """Byte offset, size and sample number of a sensor's event of a frame."""
        if sensor not in frame.events:
            raise DataError(f"the log has no {sensor} events", where=str(log_file(self.folder)))
        events, index = self._log.events[sensor], frame.events[sensor]
        offset, size = int(events.offset[index]), int(events.size[index])
        if offset < 0 and (sensor != CAMERA or (events.offset >= 0).any()):
            message = f"{sensor} event of radar frame {frame.sample} has no offset and size"
            raise DataError(message, where=f"{log_file(self.folder)}:{events.line[index]}")
        return offset, size, int(events.sample[index])


def is_recording(folder: DataPath) -> bool:
    """Whether a folder is a recorded sequence."""
    return log_file(folder).is_file()
