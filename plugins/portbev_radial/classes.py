"""The classes of RADIal."""

from __future__ import annotations

DETECTION_CLASSES = ("car",)
"""RADIal labels vehicles of every kind alike; its converted layout calls them Car."""

CAR = 0
"""The label of a vehicle."""
