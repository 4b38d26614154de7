"""``synthetic-radial:`` as a data root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.data.generated.scheme import Scheme
from portbev_radial.synth.options import from_query


def _generate(*arguments: Any, **options: Any) -> Path:
    from portbev_radial.synth.build import generate

    return generate(*arguments, **options)


SCHEME = Scheme("synthetic-radial:", "radial", "sequences=8&frames=4&seed=1", from_query, _generate)

is_synthetic = SCHEME.is_mine
parse_root = SCHEME.parse
resolve_data_root = SCHEME.resolve
