"""Synthetic RADIal: recordings of a road seen by a radar, a camera and a lidar, in RADIal's raw format.

>>> from portbev_radial.synth import RadialSynthOptions, generate
>>> generate("recordings", RadialSynthOptions(sequences=4, frames=10))
"""

from portbev_radial.synth.generate import generate
from portbev_radial.synth.options import RadialSynthOptions, from_query
from portbev_radial.synth.root import is_synthetic, parse_root, resolve_data_root

__all__ = ["RadialSynthOptions", "from_query", "generate", "is_synthetic", "parse_root", "resolve_data_root"]
