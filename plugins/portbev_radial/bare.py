"""Samples of noise in the sizes of a ``data`` section, for RADIal's radar and camera: batches without data on disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from portbev.data.pictures.pixels import padded_size, scaled_size
from portbev_radial.batches import RadialBatch
from portbev_radial.classes import CAR
from portbev_radial.config import RadialData
from portbev_radial.dataset import RadialDataset, Sample
from portbev_radial.recordings.description import RADIAL_RADAR

NATIVE_SIZE = (1920, 1080)
"""(width, height) of RADIal's pictures."""
_BOXES = np.array([[20, 3, -0.5, 4.2, 1.8, 1.6, 0.1, 0, 0], [55, -6, -0.5, 4.6, 1.9, 1.7, 0, 0, 0]], np.float32)


def bare_frames(section: RadialData, samples: int) -> RadialBatch:
    """A batch of data kind ``radial`` with the chips' samples, from which the device computes the radar's maps.

    Only inputs that need no calibration table (rt, rd and adc) can be computed of it.
    """
    from portbev_radial.synth.camera import draw_calibration
    from portbev_radial.synth.root import SCHEME

    (width, height), radar = NATIVE_SIZE, RADIAL_RADAR
    if section.root and SCHEME.matches(section.root):
        options = SCHEME.parse(section.root)
        (width, height), radar = options.image_size, replace(radar, samples=options.samples, chirps=options.chirps)
    rng = np.random.default_rng(0)
    size = scaled_size((height, width), section.scale)
    camera = draw_calibration(0, (width, height)).scaled(section.scale)
    chips = len(radar.chip_order)
    raw = rng.integers(-2000, 2000, (chips, 2 * radar.samples * radar.rx_per_chip * radar.chirps), np.int16)
    sample = Sample(
        image=rng.standard_normal((3, *padded_size(size, section.pad_divisor)), np.float32) if section.camera else None,
        image_size=size,
        radar=None if section.radar == "none" else raw,
        radar_kind="none" if section.radar == "none" else "raw",
        radar_product=section.radar,
        calibration={
            "K": camera.intrinsic,
            "dist": camera.distortion,
            "rvec": camera.rotation,
            "tvec": camera.translation,
        }
        if section.camera
        else {},
        table="",
        description=radar,
        boxes=_BOXES,
        labels=np.full(len(_BOXES), CAR, np.int64),
        token="noise",
    )
    batch: RadialBatch = RadialDataset.collate([sample] * samples)  # type: ignore[assignment]
    return batch
