"""The converted layout that EchoFusion uses, similar to KITTI's.

``images/%06d.png``, ``lidars/%06d.bin`` float32 (n, 11), ``radars_adc|rt|rd/%06d.bin`` complex128 (512, 256, 16),
``radars_ra/%06d.bin`` float64 (512, 751), ``radars_pcd/%06d.bin`` float32 (n, 4), ``labels/%06d.txt`` the 17 columns of
labels.csv, ``labels_x/%06d.txt`` the re-annotated boxes, ``ImageSets/{train,val,test}.txt``, and the calibrations
``calibs/camera_calib.npy`` and ``CalibrationTable.npy``. The number is numSample in RADIal's labels.
"""

from __future__ import annotations

import contextlib
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from portbev.errors import DataError, nearest
from portbev.paths import AnyPath, DataPath, as_path, read_array
from portbev_radial.recordings.calibration import CameraCalibration, read_camera_calibration
from portbev_radial.recordings.description import read_description
from portbev_radial.recordings.labels import box_array, read_box_file
from portbev_radial.recordings.layout import CAMERA_CALIBRATION, RADAR_CALIBRATION, SPLITS
from portbev_radial.recordings.sensors import AS_STORED, FETCH_AGAIN

FOLDERS = {
    "images": "images",
    "lidars": "lidars",
    "adc": "radars_adc",
    "rt": "radars_rt",
    "rd": "radars_rd",
    "ra": "radars_ra",
    "pcd": "radars_pcd",
    "labels": "labels",
    "labels_x": "labels_x",
}
"""Part of a sample -> folder of its files."""
SUFFIXES = {"images": "png", "labels": "txt", "labels_x": "txt"}
DTYPES = {"lidars": "<f4", "adc": "<c16", "rt": "<c16", "rd": "<c16", "ra": "<f8", "pcd": "<f4"}


def part_file(root: AnyPath, part: str, number: int) -> AnyPath:
    """DataPath of a part of a sample."""
    return root / FOLDERS[part] / f"{number:06d}.{SUFFIXES.get(part, 'bin')}"


def split_file(root: AnyPath, split: str) -> AnyPath:
    """DataPath of the list of a split's samples, one number per line."""
    return root / "ImageSets" / f"{split}.txt"


def is_converted(root: DataPath) -> bool:
    """Whether a folder has the converted layout."""
    return (root / "ImageSets").is_dir()


class ConvertedRoot:
    """A data root in the converted layout, read only.

    Raises:
        DataError: no such folder.
    """

    def __init__(self, root: DataPath) -> None:
        self.root = as_path(root)
        if not self.root.is_dir():
            raise DataError("no such data root", where=str(root), cure="Give the folder that holds ImageSets/")
        self.radar = read_description(self.root)
        self.table_file = self.root / RADAR_CALIBRATION
        self.camera_file = self.root / "calibs" / CAMERA_CALIBRATION

    @cached_property
    def camera(self) -> CameraCalibration:
        """The camera's calibration."""
        return read_camera_calibration(self.camera_file)

    def of_split(self, split: str) -> list[int]:
        """Sample numbers of a split, ascending.

        Raises:
            DataError: no such split, or a list that cannot be read.
        """
        path = split_file(self.root, split)
        if not path.exists():
            splits = [name for name in SPLITS if split_file(self.root, name).exists()]
            raise DataError(f"no split {split!r}", where=str(path), cure=nearest(split, splits, label="Splits"))
        try:
            return sorted({int(token) for token in path.read_text(encoding="utf-8-sig").split()})
        except (OSError, ValueError) as error:
            cure = "It holds the numbers of samples, one a line"
            raise DataError(f"is no list of samples: {error}", where=str(path), cure=cure) from error

    def boxes(self, number: int) -> NDArray[np.float64]:
        """(n, 9) boxes of a sample."""
        return box_array(read_box_file(part_file(self.root, "labels_x", number)))

    def picture(self, number: int) -> NDArray[np.uint8]:
        """(H, W, 3) blue green red.

        Raises:
            DataError: missing or damaged.
        """
        path = part_file(self.root, "images", number)
        image = None
        with contextlib.suppress(cv2.error):  # a header that asks for more pixels than there can be
            image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), AS_STORED) if path.exists() else None
        if image is None:
            message = "picture is damaged" if path.exists() else "picture is missing"
            raise DataError(message, where=str(path), cure=FETCH_AGAIN)
        return np.asarray(image, np.uint8)

    def array(self, part: str, number: int, shape: tuple[int, ...]) -> NDArray[np.generic]:
        """The array in a ``.bin`` file; one length in ``shape`` may be -1, for any number.

        Raises:
            DataError: missing file, or another number of values.
        """
        path = part_file(self.root, part, number)
        try:
            values: NDArray[np.generic] = read_array(path, DTYPES[part])
            return values.reshape(shape)
        except FileNotFoundError as error:
            raise DataError("file is missing", where=str(path), cure="Convert this part of the recordings") from error
        except (OSError, ValueError) as error:
            message = f"does not hold {DTYPES[part]} values of shape {shape}: {path.stat().st_size} bytes"
            raise DataError(message, where=str(path), cure="Remove the file and convert again") from error
