"""What ``portbev bench`` measures of BEVFormer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from portbev.bench.models import BenchModel, Part

if TYPE_CHECKING:
    from portbev.config import RunConfig
    from portbev.models import Batch
    from portbev_nuscenes.config import NuscenesQueueData


def batches(config: RunConfig, part: Part) -> Sequence[Batch]:
    """Noise in the sizes of a configuration."""
    from portbev_nuscenes.bare import bare_queues

    section = cast("NuscenesQueueData", config.data)
    if part == "train":
        return [bare_queues(section, config.train.batch_size, frames=section.queue_length)]
    return [bare_queues(section, 1, frames=1, continues=continues) for continues in (False, True)]


MODEL = BenchModel(
    family="bevformer",
    official=("bevformer/base", "bevformer/tiny"),
    quick=("bevformer/laptop",),
    batches=batches,
)
