"""What ``portbev bench`` measures of BEVDepth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from portbev.bench.models import BenchModel, Part

if TYPE_CHECKING:
    from portbev.config import RunConfig
    from portbev.models import Batch
    from portbev_nuscenes.config import NuscenesData


def batches(config: RunConfig, part: Part) -> Sequence[Batch]:
    """Noise in the sizes of a configuration."""
    from portbev_nuscenes.bare import bare_sweeps

    section = cast("NuscenesData", config.data)
    return [bare_sweeps(section, config.train.batch_size if part == "train" else config.eval.batch_size)]


MODEL = BenchModel(
    family="bevdepth",
    official=(
        "bevdepth/r50_256x704_128x128_24e",
        "bevdepth/r50_256x704_128x128_20e_cbgs_2key_da",
        "bevdepth/matrixvt_r50_256x704_128x128_24e_ema",
    ),
    quick=("bevdepth/laptop",),
    batches=batches,
)
