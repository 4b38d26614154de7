"""The radar signal chain for the data pipeline: NumPy arrays of one frame, computed on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from portbev.paths import DataPath
from portbev.signal import RadarChain, RadarDescription, read_calibration

PRODUCTS = {"adc": "ADC", "rt": "RT", "rd": "RD", "ra": "RA", "pcd": "PC"}
"""The chain's product for each radar part of the converted layout."""


class Chain:
    """Computes the parts of the converted layout.

    Args:
        radar: the radar.
        table: its calibration table, needed for ``ra`` and ``pcd``; None if neither is computed.
        precision: complex128 (as the original) or complex64 (fast).

    Raises:
        DataError: the table is missing, damaged, would execute code, or has another shape.
    """

    def __init__(
        self,
        radar: RadarDescription,
        table: DataPath | None,
        precision: Literal["complex64", "complex128"] = "complex128",
    ) -> None:
        calibration = None if table is None else read_calibration(table, radar)
        self._chain = RadarChain(radar, calibration, dtype=getattr(torch, precision))

    @torch.no_grad()
    def compute(self, samples: NDArray[np.int16], parts: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Compute parts of one frame from the samples (4, values) of its chips.

        adc, rt, rd: (S, C, 16) complex; ra: (S, n_az) real; pcd: (n, 4) float64 range [m], Doppler bin, azimuth and
        elevation [rad].
        """
        products = self._chain.products(torch.from_numpy(samples)[None], [PRODUCTS[part] for part in parts])
        return {part: products[PRODUCTS[part]][0].numpy() for part in parts}
