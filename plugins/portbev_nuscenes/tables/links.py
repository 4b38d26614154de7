"""The links of the nuScenes schema, and which of them training and scoring follow."""

from __future__ import annotations

from typing import Final, NamedTuple


class Link(NamedTuple):
    """A field with the token of a row of ``table``; ``many``: a list of tokens; ``optional``: it may be empty."""

    table: str
    many: bool = False
    optional: bool = False


LINKS: Final[dict[str, dict[str, Link]]] = {
    "attribute": {},
    "calibrated_sensor": {"sensor_token": Link("sensor")},
    "category": {},
    "ego_pose": {},
    "instance": {
        "category_token": Link("category"),
        "first_annotation_token": Link("sample_annotation"),
        "last_annotation_token": Link("sample_annotation"),
    },
    "log": {},
    "map": {"log_tokens": Link("log", many=True)},
    "sample": {
        "scene_token": Link("scene"),
        "prev": Link("sample", optional=True),
        "next": Link("sample", optional=True),
    },
    "sample_annotation": {
        "sample_token": Link("sample"),
        "instance_token": Link("instance"),
        "attribute_tokens": Link("attribute", many=True),
        "visibility_token": Link("visibility", optional=True),
        "prev": Link("sample_annotation", optional=True),
        "next": Link("sample_annotation", optional=True),
    },
    "sample_data": {
        "sample_token": Link("sample"),
        "ego_pose_token": Link("ego_pose"),
        "calibrated_sensor_token": Link("calibrated_sensor"),
        "prev": Link("sample_data", optional=True),
        "next": Link("sample_data", optional=True),
    },
    "scene": {
        "log_token": Link("log"),
        "first_sample_token": Link("sample"),
        "last_sample_token": Link("sample"),
    },
    "sensor": {},
    "visibility": {},
}
"""The links of the schema: table -> field -> the table that it points at."""

FOLLOWED: Final = frozenset(
    {
        ("calibrated_sensor", "sensor_token"),
        ("instance", "category_token"),
        ("sample", "scene_token"),
        ("sample_annotation", "sample_token"),
        ("sample_annotation", "instance_token"),
        ("sample_annotation", "attribute_tokens"),
        ("sample_annotation", "prev"),
        ("sample_annotation", "next"),
        ("sample_data", "sample_token"),
        ("sample_data", "ego_pose_token"),
        ("sample_data", "calibrated_sensor_token"),
    }
)
"""The (table, field) pairs that training and scoring follow; without the others they run whole."""
