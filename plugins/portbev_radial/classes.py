"""The classes of RADIal."""

from __future__ import annotations

DETECTION_CLASSES = ("car",)
"""RADIal has one class for vehicles of every kind; the converted layout calls it Car."""

CAR = 0
"""The label of a vehicle."""
