"""What ``portbev bench`` measures of EchoFusion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from portbev.bench.models import BenchModel, Part

if TYPE_CHECKING:
    from portbev.config import RunConfig
    from portbev.models import Batch
    from portbev_radial.config import RadialData


def batches(config: RunConfig, part: Part) -> Sequence[Batch]:
    """Noise in the sizes of a configuration."""
    from portbev_radial.bare import bare_frames

    section = cast("RadialData", config.data)
    return [bare_frames(section, config.train.batch_size if part == "train" else config.eval.batch_size)]


MODEL = BenchModel(
    family="echofusion",
    official=("echofusion/rt_img",),
    quick=("echofusion/laptop",),
    batches=batches,
)
