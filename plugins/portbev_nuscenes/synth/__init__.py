"""Synthetic nuScenes: consistent 3-D worlds seen by six cameras and a lidar, in the official format.

>>> from portbev_nuscenes.synth import SynthOptions, generate
>>> generate("synthetic", SynthOptions(scenes=4, image_size=(400, 225)))
"""

from portbev.data.generated.growing import MANIFEST, read_manifest
from portbev_nuscenes.synth.generate import generate
from portbev_nuscenes.synth.options import TRAIN_SPLIT, VAL_SPLIT, SynthOptions, from_query, parse_image_size
from portbev_nuscenes.synth.root import is_synthetic, parse_root, resolve_data_root

__all__ = [
    "MANIFEST",
    "TRAIN_SPLIT",
    "VAL_SPLIT",
    "SynthOptions",
    "from_query",
    "generate",
    "is_synthetic",
    "parse_image_size",
    "parse_root",
    "read_manifest",
    "resolve_data_root",
]
