"""The data root ``synthetic-radial:``, which generates its data on first use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.data.generated.scheme import Scheme
from portbev_radial.synth.options import RadialSynthOptions


def _generate(*args: Any, **kwargs: Any) -> Path:
    from portbev_radial.synth.build import generate

    return generate(*args, **kwargs)


SCHEME = Scheme("synthetic-radial:", "radial", "sequences=8&frames=4&seed=1", RadialSynthOptions, _generate)
