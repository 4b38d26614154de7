"""Names of number formats, and of how equal the bits of two runs must be, that configurations and backends share."""

from __future__ import annotations

from typing import Literal

Precision = Literal["highest", "fast"]
"""Of float32 products: as float32, or with the device's reduced-precision matrix units."""

Determinism = Literal["required", "preferred", "off"]
"""``required``: deterministic algorithms alone. ``preferred``: where there are some, else the fast ones. ``off``: the
fastest."""

Amp = Literal["none", "fp16", "bf16"]
"""Automatic mixed precision of the forward pass."""
