"""Queue samples put together into a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from portbev_nuscenes.batches import QueueBatch

if TYPE_CHECKING:
    from portbev_nuscenes.samples.queue import QueueSample


def collate(samples: Sequence[QueueSample]) -> QueueBatch:
    """A batch of at least one sample of one data set."""
    return QueueBatch(
        images=torch.from_numpy(np.stack([sample["images"] for sample in samples])),
        lidar2img=np.stack([sample["lidar2img"] for sample in samples]),
        can_bus=np.stack([sample["can_bus"] for sample in samples]),
        continues=np.stack([sample["continues"] for sample in samples]),
        previous=[sample["previous"] for sample in samples],
        image_size=samples[0]["image_size"],
        boxes=[sample["boxes"] for sample in samples],
        labels=[sample["labels"] for sample in samples],
        tokens=[sample["token"] for sample in samples],
        frame2global=np.stack([sample["frame2global"] for sample in samples]),
    )
