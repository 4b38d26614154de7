"""``synthetic-radial:`` as a data root. May import: generate, options, data.synth.scheme."""

from __future__ import annotations

from portbev.data.synth.radial.generate import generate
from portbev.data.synth.radial.options import from_query
from portbev.data.synth.scheme import Scheme

SCHEME = Scheme("synthetic-radial:", "radial", "sequences=8&frames=4&seed=1", from_query, generate)

is_synthetic = SCHEME.is_mine
parse_root = SCHEME.parse
resolve_data_root = SCHEME.resolve
