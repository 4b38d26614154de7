"""Samples put together into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from portbev_nuscenes.batches import Matrices, SweepBatch

if TYPE_CHECKING:
    from portbev_nuscenes.samples.sweeps import Sample


def collate(samples: Sequence[Sample]) -> SweepBatch:
    """A batch of at least one sample; depth is None unless every sample has it."""

    def stack(name: str) -> torch.Tensor:
        return torch.from_numpy(np.stack([sample[name] for sample in samples]))  # type: ignore[literal-required]

    return SweepBatch(
        images=stack("images"),
        mats=Matrices(
            sensor2ego=stack("sensor2ego"),
            intrin=stack("intrin"),
            ida=stack("ida"),
            sensor2sensor=stack("sensor2sensor"),
            bda=stack("bda"),
        ),
        depth=None if any(sample["depth"] is None for sample in samples) else stack("depth"),
        boxes=[sample["boxes"] for sample in samples],
        labels=[sample["labels"] for sample in samples],
        tokens=[sample["token"] for sample in samples],
        frame2global=np.stack([sample["frame2global"] for sample in samples]),
    )
