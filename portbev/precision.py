"""Names of number formats that configurations and backends share."""

from __future__ import annotations

from typing import Literal

Precision = Literal["highest", "fast"]
"""Of float32 products: as float32, or with the device's reduced-precision matrix units."""

Amp = Literal["none", "fp16", "bf16"]
"""Automatic mixed precision of the forward pass."""
