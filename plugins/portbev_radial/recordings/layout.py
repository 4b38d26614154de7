"""Names of a RADIal recording's files and sensors, and the official split by sequence.

RADIal: Rebut et al., "Raw High-Definition Radar for Multi-Task Learning", CVPR 2022. A data root holds a folder per
sequence, ``RECORD@2020-11-22_12.49.56``, whose files are named ``<folder>_<sensor>.<ext>``.
"""

from __future__ import annotations

from portbev.paths import AnyPath, DataPath, names_in

CAMERA, LIDAR, CAN, GPS = "camera", "scala", "can", "gps"
RADAR_CHIPS = ("radar_ch0", "radar_ch1", "radar_ch2", "radar_ch3")

MASTER = "radar_ch3"
"""The chip whose sample numbers count the frames; the numbers of the others are higher by :data:`PARTNERS`."""
PARTNERS = {"radar_ch0": 1, "radar_ch2": 2, "radar_ch1": 3}

SENSORS = (CAMERA, LIDAR, *RADAR_CHIPS, CAN, GPS)
"""Sensors that a log may name; events of any other are skipped."""

DELAYS = {LIDAR: -40_000, **dict.fromkeys(RADAR_CHIPS, -180_000)}
"""Correction of a sensor's timestamps in microseconds; 0 for sensors that are not listed."""

TOLERANCE = 20_000
"""Limit on the time from a radar frame to an event of another sensor [us]: EchoFusion's; RADIal's own is 200 000."""

SUFFIXES = {CAMERA: "mjpg", LIDAR: "bin", CAN: "bin", GPS: "ascii", **dict.fromkeys(RADAR_CHIPS, "bin")}

LABELS, BOXES, SPLITS = "labels.csv", "radial_bbox_labels.csv", ("train", "val", "test")
LABEL_TABLES = (LABELS, "labels_CVPR.csv")
"""Names of the table of labels; RADIal publishes it under the second one."""
CAMERA_CALIBRATION, RADAR_CALIBRATION = "camera_calib.npy", "CalibrationTable.npy"
RADAR_DESCRIPTION = "radar.json"
"""Describes the radar of recordings that are not from RADIal's radar (generated data)."""

PREFIX, LOG_ENDING = "RECORD@", "_events_log.rec"
VAL_SEQUENCES = ("2020-11-22_12.49.56", "2020-11-22_12.11.49", "2020-11-22_12.28.47", "2020-11-21_14.25.06")
TEST_SEQUENCES = ("2020-11-22_12.45.05", "2020-11-22_12.25.47", "2020-11-22_12.03.47", "2020-11-22_12.54.38")


def sequence_name(text: str) -> str:
    """What names a sequence, however it is written: without path, ``RECORD@`` and capitals, dots in the time."""
    name = text.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name.casefold().removeprefix(PREFIX.casefold()).replace(":", ".")


def split_of(sequence: str) -> str:
    """``train``, ``val`` or ``test``: where the official split puts a sequence."""
    name = sequence_name(sequence)
    return "val" if name in VAL_SEQUENCES else "test" if name in TEST_SEQUENCES else "train"


def sensor_file(folder: AnyPath, sensor: str, stem: str = "") -> AnyPath:
    """A sensor's file in a sequence's folder; ``stem``: beginning of the files' names, if not the folder's name."""
    return folder / f"{stem or folder.name}_{sensor}.{SUFFIXES[sensor]}"


def log_file(folder: AnyPath) -> AnyPath:
    """A sequence's event log: named as the folder, or the only one in a folder that has been renamed."""
    path = folder / f"{folder.name}{LOG_ENDING}"
    if path.is_file() or not folder.is_dir():
        return path
    others = [other for other in folder.iterdir() if other.name.endswith(LOG_ENDING)]
    return others[0] if len(others) == 1 else path


def find_table(root: DataPath, *names: str) -> DataPath:
    """The first of ``names`` in a folder, capitals aside; the path of the first one if there is none."""
    for name in names:
        if (root / name).exists():
            return root / name
    there = {path.name.casefold(): path for path in sorted(root.iterdir())} if root.is_dir() else {}
    return next((there[name.casefold()] for name in names if name.casefold() in there), root / names[0])


def looks_like(folder: DataPath) -> bool:
    """Whether a folder has names of RADIal's own at its top: its tables, or folders of recordings."""
    names = {name.casefold() for name in names_in(folder)}
    tables = {name.casefold() for name in (*LABEL_TABLES, BOXES, CAMERA_CALIBRATION, RADAR_CALIBRATION)}
    return bool(names & tables) or "imagesets" in names or any(name.startswith(PREFIX.casefold()) for name in names)
