"""Read the sensor files of a recording, event by event.

The file is opened for each event, so that no state is kept between frames.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError
from portbev.paths import DataPath

FETCH_AGAIN = "Fetch the file again"
AS_STORED = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
"""How OpenCV reads pictures: 8 bits of blue, green and red, not turned: calibrations hold for the pixels as stored."""

SCALA = np.dtype([("values", "<f4", 7), ("bytes", "u1", 4)])
"""A lidar return, 32 bytes: x y z [m] intensity, distance [m], elevation, azimuth [rad]; four bytes, layer first."""

CAN_MESSAGE = np.dtype([("time", "<u8"), ("id", "<u4"), ("data", "u1", 8), ("rest", "u1", 4)])
"""A CAN message, 24 bytes: timestamp [us], identifier, eight bytes of data, four more."""


def read_bytes(path: DataPath, offset: int, size: int) -> bytes:
    """``size`` bytes of a file from ``offset`` on.

    Raises:
        DataError: the file is missing or too short.
    """
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(size)
    except FileNotFoundError as error:
        raise DataError("file is missing", where=str(path), cure="Check the data root") from error
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=str(path), cure=FETCH_AGAIN) from error
    if len(data) < size:
        raise _truncated(path, path.stat().st_size, offset + size)
    return data


def check_extent(path: DataPath, offset: int, size: int) -> None:
    """Check that a file has these bytes, without reading them; raises as :func:`read_bytes`."""
    try:
        actual = path.stat().st_size
    except FileNotFoundError as error:
        raise DataError("file is missing", where=str(path), cure="Check the data root") from error
    if actual < offset + size:
        raise _truncated(path, actual, offset + size)


def _truncated(path: DataPath, actual: int, expected: int) -> DataError:
    message = f"file is truncated: it has {actual} bytes, expected {expected}"
    return DataError(message, where=str(path), cure=FETCH_AGAIN)


def check_radar_size(path: DataPath, offset: int, size: int, values: int) -> None:
    """Check that a chip's event has one frame of ``values`` int16.

    Raises:
        DataError: it has another size.
    """
    if size != 2 * values:
        message = f"radar event at byte {offset} has {size} bytes, expected {2 * values}"
        raise DataError(
            message, where=str(path), cure="Check the log, and that radar.json, if any, describes this radar"
        )


def read_radar_chip(path: DataPath, offset: int, size: int, values: int) -> NDArray[np.int16]:
    """(values,) int16 samples of one frame of one chip, I and Q interleaved.

    Raises:
        DataError: missing or truncated file, or an event of another size.
    """
    check_radar_size(path, offset, size, values)
    return np.frombuffer(read_bytes(path, offset, size), "<i2").astype(np.int16, copy=False)


def read_lidar(path: DataPath, offset: int, size: int) -> NDArray[np.float32]:
    """(n, 11) float32 returns of one scan: the seven floats and the four bytes of :data:`SCALA`.

    Raises:
        DataError: missing or truncated file, or a scan that is no whole number of returns.
    """
    if size % SCALA.itemsize:
        message = f"lidar scan at byte {offset} has {size} bytes, no multiple of {SCALA.itemsize}"
        raise DataError(message, where=str(path), cure=FETCH_AGAIN)
    returns = np.frombuffer(read_bytes(path, offset, size), SCALA)
    return np.concatenate([returns["values"], returns["bytes"].astype(np.float32)], 1).astype(np.float32)


def read_can(path: DataPath, offset: int, size: int) -> NDArray[np.void]:
    """(n,) messages of :data:`CAN_MESSAGE`.

    Raises:
        DataError: missing or truncated file, or no whole number of messages.
    """
    if size % CAN_MESSAGE.itemsize:
        message = f"CAN event at byte {offset} has {size} bytes, no multiple of {CAN_MESSAGE.itemsize}"
        raise DataError(message, where=str(path), cure=FETCH_AGAIN)
    messages: NDArray[np.void] = np.frombuffer(read_bytes(path, offset, size), CAN_MESSAGE)
    return messages


def read_jpeg(path: DataPath, offset: int, size: int) -> NDArray[np.uint8]:
    """(H, W, 3) blue green red picture of a JPEG within a file.

    Raises:
        DataError: missing or truncated file, or a damaged picture (OpenCV alone would fill the missing part with grey).
    """
    data = read_bytes(path, offset, size)
    image = None
    if data[:2] == b"\xff\xd8" and data.rfind(b"\xff\xd9") > 0:
        with contextlib.suppress(cv2.error):  # a header that asks for more pixels than there can be
            image = cv2.imdecode(np.frombuffer(data, np.uint8), AS_STORED)
    if image is None:
        raise DataError(f"picture at byte {offset} is damaged or truncated", where=str(path), cure=FETCH_AGAIN)
    return np.asarray(image, np.uint8)


def read_video_frame(path: DataPath, number: int) -> NDArray[np.uint8]:
    """(H, W, 3) blue green red: frame ``number`` (from 0) of a camera file that is an AVI.

    Raises:
        DataError: missing file, one that OpenCV cannot read, or too few frames.
    """
    if not path.exists():
        raise DataError("file is missing", where=str(path), cure="Check the data root")
    if not isinstance(path, Path):
        raise DataError("a video is read from a folder alone", where=str(path), cure="Unpack it, or copy it to a disk")
    video = cv2.VideoCapture(str(path))
    try:
        success, image = False, None
        if video.isOpened():
            video.set(cv2.CAP_PROP_POS_FRAMES, number)
            success, image = video.read()
    finally:
        video.release()
    if not success or image is None:
        raise DataError(f"video frame {number} cannot be read", where=str(path), cure=FETCH_AGAIN)
    return np.asarray(image, np.uint8)
