"""Synthetic RADIal: recordings of a road seen by a radar, a camera and a lidar, in RADIal's raw format.

>>> from portbev.data.synth.radial import RadialSynthOptions, generate
>>> generate("recordings", RadialSynthOptions(sequences=4, frames=10))
"""

from portbev.data.synth.radial.generate import generate
from portbev.data.synth.radial.options import RadialSynthOptions, from_query
from portbev.data.synth.radial.root import is_synthetic, parse_root, resolve_data_root

__all__ = ["RadialSynthOptions", "from_query", "generate", "is_synthetic", "parse_root", "resolve_data_root"]
