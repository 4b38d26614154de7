"""Detections from the head's outputs, on the host."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from portbev.models import Detections
from portbev.nn.detr import best_queries, within
from portbev_echofusion import head
from portbev_echofusion.config import EchoFusionConfig
from portbev_radial.classes import CAR


def decode(config: EchoFusionConfig, logits: Tensor, codes: Tensor) -> list[Detections]:
    """The boxes with the highest scores of each sample, without suppression (the original's NMSFreeCoder).

    Args:
        logits: (B,queries,1) of the last layer.
        codes: (B,queries,8) of the last layer.
    """
    section, detections = config.decode, []
    official = config.quirks.heading == "official"
    for one, code in zip(*(x.detach().float().cpu() for x in (logits, codes)), strict=True):
        scores, index = best_queries(one, section.max_detections)
        selected = code[index]  # there is one class, so that the flat index is that of the query
        keep = within(selected, section.center_range)
        labels = np.full(int(keep.sum()), CAR, np.int64)
        boxes = head.decode(selected[keep].numpy(), official=official)
        detections.append(Detections(boxes, scores[keep].numpy(), labels))
    return detections
