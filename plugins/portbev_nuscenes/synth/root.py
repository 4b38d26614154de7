"""The data root ``synthetic:``, which generates its data on first use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from portbev.data.generated.scheme import Scheme
from portbev_nuscenes.synth.options import SynthOptions

if TYPE_CHECKING:
    from portbev.config import RunConfig


def _generate(*args: Any, **kwargs: Any) -> Path:
    from portbev_nuscenes.synth.build import generate

    return generate(*args, **kwargs)


def _needs(options: SynthOptions, config: RunConfig, root: Path | None) -> dict[str, Any]:
    from portbev_nuscenes.synth.needs import needs

    return needs(options, config, root)


def _training_samples(options: SynthOptions) -> int:
    from portbev_nuscenes.synth.needs import training_samples

    return training_samples(options)


SCHEME = Scheme("synthetic:", "nuscenes", "scenes=40&seed=1", SynthOptions, _generate, _needs, _training_samples)
