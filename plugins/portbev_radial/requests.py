"""Requests for RADIal's samples: a radar frame and a picture from outside of a data set, as a batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from portbev.config import RunConfig
from portbev.errors import DataError
from portbev.export.interface import Field, Request
from portbev.models import Batch
from portbev.signal import RadarDescription
from portbev_radial.config import RadialData
from portbev_radial.dataset import RadialDataset, Sample
from portbev_radial.pictures import Augmentation, network_input
from portbev_radial.recordings.calibration import CameraCalibration

Shape = tuple[int | None, ...]

TOKEN = "request"
"""Of a sample that comes from nowhere."""

_RADAR = "radar: x forward, y left, z up"
_WORLD = "world (X right, Y forward, Z up, origin at the radar) to camera (x right, y down, z forward)"
_CAMERA = (
    Field("intrinsics", "float64", (3, 3), "camera matrix, pixel centres at whole numbers", unit="pixels"),
    Field("distortion", "float64", (5,), "k1 k2 p1 p2 k3 as OpenCV has them"),
    Field("rotation", "float64", (3,), "rotation vector as OpenCV has it", unit="rad", frame=_WORLD),
    Field("translation", "float64", (3,), "translation", unit="m", frame=_WORLD),
)
_NO_BOXES, _NO_LABELS = np.zeros((0, 9), np.float32), np.zeros(0, np.int64)


class RadialRequests:
    """A radar frame with a picture; the request form of data kind ``radial``."""

    kind = "radial"

    def facts(self, dataset: Any) -> dict[str, Any]:
        """The radar, its calibration table, in which form its frames come, and the pictures' size."""
        data = cast(RadialDataset, dataset)
        return {
            "radar": data.source.description.as_dict(),
            "radar_kind": data.source.radar_kind,
            "table": str(data.source.table_file),
            "image_size": list(data.picture_size()) if data.section.camera else None,
        }

    def fields(self, config: RunConfig, facts: Mapping[str, Any]) -> tuple[Field, ...]:
        """The radar frame, and with a camera the picture and its calibration."""
        section = cast(RadialData, config.data)
        fields: tuple[Field, ...] = ()
        if section.radar != "none":
            dtype, shape, meaning = _radar(facts["radar_kind"], _description(facts))
            fields = (Field("radar", dtype, shape, meaning, frame=_RADAR),)
        if section.camera:
            height, width = facts["image_size"]
            fields += (Field("image", "uint8", (height, width, 3), "picture; RGB"), *_CAMERA)
        return fields

    def frame(self) -> str:
        """Of boxes."""
        return f"{_RADAR}; metres"

    def batch(self, requests: Sequence[Request], config: RunConfig, facts: Mapping[str, Any]) -> Batch:
        """As the evaluation makes it."""
        section = cast(RadialData, config.data)
        return RadialDataset.collate([_sample(request, section, facts, i) for i, request in enumerate(requests)])

    def request(self, dataset: Any, index: int) -> Request:
        """The request that asks for a sample."""
        return cast(RadialDataset, dataset).request(index)


def _description(facts: Mapping[str, Any]) -> RadarDescription:
    """The radar of the facts, which may have come by way of JSON."""
    return RadarDescription(**facts["radar"])


def _radar(kind: str, radar: RadarDescription) -> tuple[str, Shape, str]:
    """Type, shape and meaning of a radar frame of a kind."""
    if kind == "raw":
        meaning = "samples of chips 0 to 3, I and Q in turns, as RADIal records them"
        return "int16", (4, radar.values_per_chip), meaning
    if kind == "ra":
        return "float32", (radar.samples, None), "range-azimuth map: range bins, azimuths"
    if kind == "pc":
        return "float32", (None, 4), "points: range [m], Doppler bin, azimuth and elevation [rad]"
    names = {"rt": "range spectrum", "rd": "range-Doppler spectrum", "adc": "samples of the antennas"}
    meaning = f"{names[kind]}: samples, chirps, receivers, real and imaginary part"
    return "float32", (radar.samples, radar.chirps, radar.receivers, 2), meaning


def _sample(request: Request, section: RadialData, facts: Mapping[str, Any], index: int) -> Sample:
    image, size = None, (0, 0)
    calibration: dict[str, NDArray[np.float64]] = {}
    if section.camera:
        image, size = network_input(np.ascontiguousarray(request["image"][..., ::-1]), section, Augmentation())
        calibration = _calibration(request, section, f"request {index}: intrinsics")
    return Sample(
        image=image,
        image_size=size,
        radar=request.get("radar"),
        radar_kind=facts["radar_kind"],
        radar_product=section.radar,
        calibration=calibration,
        table=str(Path(facts["table"])),
        description=_description(facts),
        boxes=_NO_BOXES,
        labels=_NO_LABELS,
        token=TOKEN,
    )


def _calibration(request: Request, section: RadialData, where: str) -> dict[str, NDArray[np.float64]]:
    intrinsics = np.asarray(request["intrinsics"], np.float64)
    if min(intrinsics[0, 0], intrinsics[1, 1]) <= 0 or (intrinsics[2] != [0, 0, 1]).any():
        raise DataError("is no camera matrix", where=where, cure="Give [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]")
    camera = CameraCalibration(intrinsics, *(np.asarray(request[field.name], np.float64) for field in _CAMERA[1:]))
    camera = camera.scaled(section.scale)
    named = {"K": camera.intrinsic, "dist": camera.distortion}
    return {**named, "rvec": camera.rotation, "tvec": camera.translation}
