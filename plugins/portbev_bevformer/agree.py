"""What the ``model`` section of BEVFormer must have in common with the others."""

from __future__ import annotations

from typing import cast

from portbev.config.agreement import center_range, disagreement, intervals, settings, shown, wider
from portbev.config.schema import RunConfig
from portbev_bevformer.config import BevFormerConfig
from portbev_nuscenes.agree import absent_classes, too_many_boxes
from portbev_nuscenes.config import NuscenesQueueData

MIXING = {
    "visibility_lists": "see what the cameras of the batch's first sample see",
    "temporal_concat": "get the history of another sample",
}
"""Official quirks by which the samples of a batch change each other, and what the other samples suffer."""


def agree(config: RunConfig) -> list[str]:
    """Notes; see :meth:`portbev.models.ModelFamily.agree`.

    Raises:
        ConfigError: other numbers of cameras, or boxes that the model cannot place.
    """
    model, data = cast(BevFormerConfig, config.model), cast(NuscenesQueueData, config.data)
    if len(data.cameras) != model.cameras:
        raise disagreement(
            f"the data have {len(data.cameras)} cameras, the model takes {model.cameras}",
            {"data.cameras": data.cameras, "model.cameras": model.cameras},
            f"Set model.cameras={len(data.cameras)}, or list {model.cameras} in data.cameras",
        )
    notes = _ranges(model, data)
    notes += _quirks(config, model)
    if data.queue_length == 1:
        notes.append("data.queue_length=1: frames have no history, neither in training nor in evaluation")
    notes += absent_classes(model.classes, "model.classes", data.categories)
    section, queries = model.decode, model.decoder.queries
    values = {"model.decode.max_detections": section.max_detections, "model.decoder.queries": queries}
    return notes + too_many_boxes(min(section.max_detections, queries * len(model.classes)), values)


def _ranges(model: BevFormerConfig, data: NuscenesQueueData) -> list[str]:
    """Notes on boxes that are never seen in training, or found and thrown away."""
    named = {
        "data.point_cloud_range": data.point_cloud_range,
        "model.point_cloud_range": model.point_cloud_range,
    }
    trained, seen = intervals(data.point_cloud_range), intervals(model.point_cloud_range)
    if wider(trained[:2], seen[:2]):  # the data's heights leave out no box
        raise disagreement(
            "boxes would be trained on that lie outside the range in which the model places boxes",
            named,
            f"Set data.point_cloud_range={shown(model.point_cloud_range)}, or widen model.point_cloud_range",
        )
    notes = center_range(model.decode.center_range, seen, {"model.point_cloud_range": model.point_cloud_range})
    if wider(seen[:2], trained[:2]):
        notes.append(f"boxes in the outer part of the model's range are not trained on ({settings(named)})")
    if trained[2] != seen[2]:
        notes.append(f"the heights of data.point_cloud_range leave out no box, the model's differ ({settings(named)})")
    return notes


def _quirks(config: RunConfig, model: BevFormerConfig) -> list[str]:
    batch = config.train.batch_size
    if batch == 1:
        return []
    return [
        f"in batches of several samples all but the first {harm}, as in the original "
        f"({settings({'train.batch_size': batch, f'model.quirks.{name}': 'official'})})"
        for name, harm in MIXING.items()
        if getattr(model.quirks, name) == "official"
    ]
