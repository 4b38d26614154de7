"""The data root ``synthetic:``, which generates its data on first use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.data.generated.scheme import Scheme
from portbev_nuscenes.synth.options import SynthOptions


def _generate(*args: Any, **kwargs: Any) -> Path:
    from portbev_nuscenes.synth.build import generate

    return generate(*args, **kwargs)


SCHEME = Scheme("synthetic:", "nuscenes", "scenes=40&seed=1", SynthOptions, _generate)
