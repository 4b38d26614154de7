"""What a configuration must say to train on generated scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portbev.config import RunConfig
from portbev.errors import DataError
from portbev_nuscenes.config import NuscenesData, Tables
from portbev_nuscenes.samples import summary
from portbev_nuscenes.synth.options import TRAIN_SPLIT, VAL_SPLIT, SynthOptions
from portbev_nuscenes.tables.splits import usable_splits


def needs(options: SynthOptions, config: RunConfig, root: Path | None) -> dict[str, Any]:
    """Version, splits and sizes of pictures that ``config`` says otherwise: key -> value that is right.

    Args:
        root: folder of the data, whose own versions and splits may be named too; None: they are not generated yet.
    """
    data = config.data
    if not isinstance(data, Tables):
        return {}
    found: dict[str, Any] = {}
    version = data.version
    if version != options.version and not (root and (root / version).is_dir()):
        found["data.version"] = version = options.version
    splits = _splits(options, root, version)
    for key, name in (("train_split", _training(options)), ("eval_split", _evaluation(options))):
        if getattr(data, key) not in splits:
            found[f"data.{key}"] = name
    return {**found, **_pictures(options, data)}


def training_samples(options: SynthOptions) -> int:
    """Key frames of the training split."""
    scenes = options.scenes - options.validation_count
    return (scenes or options.scenes) * options.samples_per_scene


def _training(options: SynthOptions) -> str:
    return TRAIN_SPLIT if options.validation_count < options.scenes else VAL_SPLIT


def _evaluation(options: SynthOptions) -> str:
    return VAL_SPLIT if options.validation_count else TRAIN_SPLIT


def _splits(options: SynthOptions, root: Path | None, version: str) -> set[str]:
    """Splits that hold a scene."""
    if root is not None:
        try:
            return set(usable_splits(root, version))
        except DataError:  # opening the data says what is wrong
            pass
    return {_training(options), _evaluation(options)}


def _pictures(options: SynthOptions, data: Tables) -> dict[str, Any]:
    """The size of the pictures, and a resizing that fills the network's input with them."""
    width, height = options.image_size
    if not isinstance(data, NuscenesData) or data.image.source_size == (height, width):
        return {}
    found: dict[str, Any] = {"data.image.source_size": [height, width]}
    training, evaluation = summary.padding(data.image.model_copy(update={"source_size": (height, width)}))
    if training > summary.BLACK_IN_TRAINING and evaluation < summary.FULL_IN_EVALUATION:
        fitting = data.image.model_copy(update={"source_size": (height, width)})
        found["data.image.resize"] = list(summary.fitting_resize(fitting))
    return found
