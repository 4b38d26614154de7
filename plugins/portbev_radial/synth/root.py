"""``synthetic-radial:`` as a data root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.data.generated.scheme import Scheme
from portbev_radial.synth.options import RadialSynthOptions


def _generate(*arguments: Any, **how: Any) -> Path:
    from portbev_radial.synth.build import generate

    return generate(*arguments, **how)


SCHEME = Scheme("synthetic-radial:", "radial", "sequences=8&frames=4&seed=1", RadialSynthOptions, _generate)
