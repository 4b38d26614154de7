"""``synthetic:`` as a data root."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.data.generated.scheme import Scheme
from portbev_nuscenes.synth.options import SynthOptions


def _generate(*arguments: Any, **how: Any) -> Path:
    from portbev_nuscenes.synth.build import generate

    return generate(*arguments, **how)


SCHEME = Scheme("synthetic:", "nuscenes", "scenes=40&seed=1", SynthOptions, _generate)
