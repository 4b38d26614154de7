"""Synthetic RADIal: recordings of a road seen by a radar, a camera and a lidar, in RADIal's raw format.

``options`` says what is generated and ``world`` lays a sequence out. ``antenna``, ``echoes`` and ``radar`` simulate the
radar, ``camera`` the pictures. ``recorder`` writes a sequence, ``build`` the data set; ``root`` is the data root
``synthetic-radial:``.

>>> from portbev_radial.synth import RadialSynthOptions, generate
>>> generate("recordings", RadialSynthOptions(sequences=4, frames=10))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev_radial.synth.options import RadialSynthOptions
from portbev_radial.synth.root import SCHEME

__all__ = [
    "SCHEME",
    "RadialSynthOptions",
    "generate",
]


def generate(out: Path | str, options: RadialSynthOptions, **kwargs: Any) -> Path:
    """See :func:`portbev_radial.synth.build.generate`."""
    from portbev_radial.synth.build import generate

    return generate(out, options, **kwargs)
