"""The data root ``synthetic-radial:``, which generates its data on first use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from portbev.data.generated.scheme import Scheme
from portbev_radial.synth.options import RadialSynthOptions

if TYPE_CHECKING:
    from portbev.config import RunConfig


def _generate(*args: Any, **kwargs: Any) -> Path:
    from portbev_radial.synth.build import generate

    return generate(*args, **kwargs)


def _needs(options: RadialSynthOptions, config: RunConfig, root: Path | None) -> dict[str, Any]:
    from portbev_radial.synth.needs import needs

    return needs(options, config, root)


SCHEME = Scheme("synthetic-radial:", "radial", "sequences=8&frames=4&seed=1", RadialSynthOptions, _generate, _needs)
