"""Write the info pickles that EchoFusion's data loaders read; portbev itself does not read them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from portbev.errors import DataError
from portbev.files import atomic_write
from portbev_radial.converted.kitti import part_file
from portbev_radial.recordings.labels import NO_BOX, is_empty
from portbev_radial.recordings.raw import RawRoot

PREFIX = "radialx_infos"
_PROTOCOL = 4


def write_infos(out: Path, splits: dict[str, list[int]], source: RawRoot) -> None:
    """Write ``radialx_infos_{train,val,trainval,test}.pkl`` of a conversion.

    Raises:
        DataError: the camera's calibration or a picture cannot be read.
    """
    infos = {split: [sample_info(out, number, source) for number in numbers] for split, numbers in splits.items()}
    infos["trainval"] = infos["train"] + infos["val"]
    for split, members in infos.items():
        with atomic_write(out / f"{PREFIX}_{split}.pkl") as temporary:
            temporary.write_bytes(pickle.dumps(members, protocol=_PROTOCOL))


def sample_info(out: Path, number: int, source: RawRoot) -> dict[str, Any]:
    """The info of one sample in EchoFusion's format; paths are relative to the layout's root."""
    camera = source.camera
    paths = {part: str(part_file(Path(), part, number)) for part in ("images", "lidars", "rt", "pcd", "ra")}
    radar = source.radar
    return {
        "image": {"image_idx": number, "image_path": paths["images"], "image_shape": _shape(out, number, source)},
        "radar": {
            "radar_shape": np.array([radar.samples, radar.chirps, 16], np.int32),
            "radars_rt_path": paths["rt"],
            "radars_pcd_path": paths["pcd"],
            "radars_ra_path": paths["ra"],
        },
        "point_cloud": {"num_features": 11, "lidars_path": paths["lidars"]},
        "calib": {
            "rvec": camera.rotation,
            "tvec": camera.translation,
            "cam_mat": camera.intrinsic,
            "dist_coeffs": camera.distortion,
        },
        "annos": box_annotations(source.boxes.get(number, [NO_BOX])),
    }


def box_annotations(rows: list[tuple[str, ...]]) -> dict[str, Any]:
    """KITTI annotations of a sample's box rows; the location is the centre of the box's bottom face."""
    kept = [] if is_empty(rows) else rows
    values = np.array([[float(token) for token in row[:7]] for row in kept], np.float64).reshape(-1, 7)
    count = len(values)
    location = values[:, :3].copy()
    location[:, 2] -= values[:, 5] / 2
    return {
        "name": np.array(["Car"] * count),
        "truncated": np.zeros(count),
        "occluded": np.zeros(count),
        "alpha": np.full(count, -10.0),
        "dimensions": values[:, 3:6],
        "location": location,
        "rotation_y": values[:, 6],
        "doppler": [],
        "index": np.arange(count, dtype=np.int32),
    }


def _shape(out: Path, number: int, source: RawRoot) -> Any:
    """(height, width) of the converted picture, or of the recorded one if pictures are not converted."""
    path = part_file(out, "images", number)
    if not path.exists():
        return np.array(source.picture(source.labels[number]).shape[:2], np.int32)
    try:
        with path.open("rb") as file, Image.open(file) as image:
            return np.array([image.height, image.width], np.int32)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"picture is damaged: {error}", where=str(path), cure="Remove it and convert again") from error
