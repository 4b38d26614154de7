"""``synthetic:`` as a data root."""

from __future__ import annotations

from portbev.data.generated.scheme import Scheme
from portbev_nuscenes.synth.generate import generate
from portbev_nuscenes.synth.options import from_query

SCHEME = Scheme("synthetic:", "nuscenes", "scenes=40&seed=1", from_query, generate)

is_synthetic = SCHEME.is_mine
parse_root = SCHEME.parse
resolve_data_root = SCHEME.resolve
