"""Detections from the head's outputs, on the host."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from portbev.models import Detections
from portbev.nn.detr import best_queries, within
from portbev_bevformer import head
from portbev_bevformer.config import BevFormerConfig
from portbev_nuscenes.classes import DETECTION_CLASSES


def decode(config: BevFormerConfig, logits: Tensor, codes: Tensor) -> list[Detections]:
    """The boxes with the highest scores of each sample, without suppression (the original's NMSFreeCoder).

    Args:
        logits: (B,queries,classes) of the last layer.
        codes: (B,queries,10) of the last layer.
    """
    section, detections = config.decode, []
    dataset_labels = np.array([DETECTION_CLASSES.index(name) for name in config.classes], np.int64)
    for one, code in zip(*(x.detach().float().cpu() for x in (logits, codes)), strict=True):
        scores, index = best_queries(one, section.max_detections)
        selected = code[index // one.shape[1]]
        keep = within(selected, section.center_range)
        if section.score_threshold is not None:
            keep &= ~(scores <= section.score_threshold)  # a NaN is counted by the benchmark
        labels = dataset_labels[(index % one.shape[1])[keep].numpy()]
        detections.append(Detections(head.decode(selected[keep].numpy()), scores[keep].numpy(), labels))
    return detections
