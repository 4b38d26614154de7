"""The weights that a run starts from."""

from __future__ import annotations

from pathlib import Path

import torch

from portbev.config.section import absolute
from portbev.errors import ConfigError, PortbevError
from portbev.models import DetectionModel, ModelFamily
from portbev.runs.weights import load_any


def load_start(model: DetectionModel, family: ModelFamily, init: Path | None, *, partial: bool) -> list[str]:
    """Load what a run starts from into a model with random weights: ``init``, or the files of its configuration.

    Args:
        partial: ``init`` need not have all weights. The rest is as without it: of the configuration's files, or random.

    Returns:
        Notes on what was read.

    Raises:
        ConfigError: layers that do not train would keep random weights.
        CheckpointError: a file cannot be read or does not fit.
    """
    if init is None:
        if partial:
            cure = "Name it: --init CHECKPOINT"
            raise PortbevError("--init-partial needs a checkpoint to take weights from", cure=cure)
        return model.load_pretrained()
    notes: list[str] = []
    refused: ConfigError | None = None
    if partial:
        try:
            notes = model.load_pretrained()
        except ConfigError as error:  # unless ``init`` has these layers
            refused = error
    frozen = [(weight, weight.clone()) for weight in model.parameters() if not weight.requires_grad]
    kind, said = load_any(init, model, family, use_ema=True, partial=partial)
    random = [weight for weight, before in frozen if torch.equal(weight, before)]
    # Norms may have been saved with the values that they start with; matrices are drawn.
    if refused is not None and (len(random) == len(frozen) or any(weight.dim() > 1 for weight in random)):
        raise refused
    return [*notes, f"started from the {kind} weights of {absolute(str(init))}", *said]
