"""Batches of RADIal: radar frames with a picture each."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from portbev.models import Batch


class RadialBatch(Batch):
    """Batch of data kind ``radial``; the radar frame: x forward, y left, z up. ``frame2global`` is the identity.

    ``images`` (B,3,H,W) float32, normalised and padded; None when the camera is left out.
    ``image_size``: (height, width) of the images before padding.
    ``radar_kind``: ``raw``, or the product of the signal chain that ``radar`` holds (rt, rd, ra, adc, pc), or ``none``.
    ``radar_product``: the product that the data are configured for (``data.radar``), also where samples are raw.
    ``radar``: raw: (B,4,V) int16, the samples of chips 0 to 3, V = 2*S*4*C; rt, rd, adc: (B,S,C,16,2) float32 real and
    imaginary part; ra: (B,S,n_az) float32; pc: B tensors (n,4) float32 range [m], Doppler bin, azimuth and elevation
    [rad], which stay on the host; none: None.
    ``calibration``: of the camera, float64: K (B,3,3) in pixels of the network's input, dist (B,5), rvec (B,3) and
    tvec (B,3) [m] from the world (X right, Y forward, Z up) as OpenCV has them; empty when the camera is left out.
    ``table``: path of the radar's calibration table. ``description``: its sizes (``portbev.signal.RadarDescription``).
    """

    images: Tensor | None
    image_size: tuple[int, int]
    radar: Tensor | list[Tensor] | None
    radar_kind: str
    radar_product: str
    calibration: dict[str, NDArray[np.float64]]
    table: str
    description: Any
