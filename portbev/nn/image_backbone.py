"""Image backbones start from weights that others trained, or train as a whole."""

from __future__ import annotations

from typing import Any, Protocol

from portbev.errors import CheckpointError, ConfigError
from portbev.nn.pretrained import load_resnet
from portbev.nn.resnet import ResNet

SECTION = "model.image_backbone"


class BackboneSection(Protocol):
    """What the sections of all image backbones have."""

    weights: str | None
    frozen_stages: int


class FrozenRandomError(ConfigError):
    """Frozen layers have no weights to start from. ``settings``: what lets them train, key -> value."""

    settings: dict[str, Any]


def load_backbone(network: ResNet, section: BackboneSection) -> list[str]:
    """Load the file that ``section.weights`` names, if any, into an image backbone with random weights.

    Returns:
        Notes on what was read.

    Raises:
        FrozenRandomError: layers of it are frozen and no file is named: they would keep their random weights.
        CheckpointError: the file cannot be read or does not fit.
    """
    if section.weights:
        try:
            return [f"{SECTION} started from {section.weights}", *load_resnet(network, section.weights)]
        except CheckpointError as error:
            raise CheckpointError(error.what, where=f"{SECTION}.weights={section.weights}", cure=error.cure) from error
    if network.frozen:
        stages = network.frozen_stages
        cause = [f"frozen_stages is {stages}"] * (stages >= 0) + ["frozen_norms is true"] * network.frozen_norms
        thaw = ["frozen_stages=-1"] * (stages >= 0) + ["frozen_norms=false"] * network.frozen_norms
        refused = FrozenRandomError(
            f"frozen layers would keep random weights: {' and '.join(cause)}, and weights names no file",
            where=SECTION,
            cure=f"Name torchvision's weights: --set {SECTION}.weights=FILE; or start from a checkpoint: --init; or "
            f"let it train: {' '.join(f'--set {SECTION}.{key}' for key in thaw)}",
        )
        settings = {"frozen_stages": -1} if stages >= 0 else {}
        settings |= {"frozen_norms": False} if network.frozen_norms else {}
        refused.settings = {f"{SECTION}.{key}": value for key, value in settings.items()}
        raise refused
    return []
