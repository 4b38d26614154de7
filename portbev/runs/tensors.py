"""Files of tensors, read without executing what is in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from portbev.errors import CheckpointError
from portbev.nn.pretrained import fit_state


def write_safetensors(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write ``state``, from whatever device it is on."""
    # clone: safetensors refuses tensors that share memory
    save_file({key: value.detach().to("cpu").contiguous().clone() for key, value in state.items()}, path)


def read_state(path: Path) -> Any:
    """Content of a file of tensors and plain values that we wrote with ``torch.save``, on the CPU. Executes no code.

    Raises:
        CheckpointError: missing, truncated, or of another kind.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        what = f"cannot be read ({type(error).__name__}: {reason}); truncated, or of another kind"
        raise CheckpointError(what, where=str(path)) from error


def load_weights(model: torch.nn.Module, state: Mapping[str, Tensor], where: str) -> list[str]:
    """Load ``state``, which has the model's own keys, into ``model``. Derived buffers keep the model's values.

    Returns:
        Notes on what was left aside.

    Raises:
        CheckpointError: missing or unexpected keys, or other shapes; lists them.
    """
    try:
        imported = fit_state(state, model)
    except CheckpointError as error:
        raise CheckpointError(error.what, where=where, cure="Give the configuration it was made with") from error
    model.load_state_dict(imported.state)
    return imported.notes
