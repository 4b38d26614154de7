"""Synthetic nuScenes: consistent 3-D worlds seen by six cameras and a lidar, in the official format.

``options`` says what is generated, ``world`` lays a scene out, ``scene`` and ``can_bus`` write it, ``build`` writes the
data set; ``root`` is the data root ``synthetic:``.

>>> from portbev_nuscenes.synth import SynthOptions, generate
>>> generate("synthetic", SynthOptions(scenes=4, image_size=(400, 225)))
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev_nuscenes.synth.options import TRAIN_SPLIT, VAL_SPLIT, SynthOptions
from portbev_nuscenes.synth.root import SCHEME

__all__ = [
    "SCHEME",
    "TRAIN_SPLIT",
    "VAL_SPLIT",
    "SynthOptions",
    "generate",
]


def generate(out: Path | str, options: SynthOptions, **kwargs: Any) -> Path:
    """See :func:`portbev_nuscenes.synth.build.generate`."""
    from portbev_nuscenes.synth.build import generate

    return generate(out, options, **kwargs)
