"""Files of tensors, read without executing what is in them."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from portbev.errors import CheckpointError
from portbev.nn.pretrained import leave_unread


def write_safetensors(path: Path, state: Mapping[str, Tensor]) -> None:
    """Write ``state``, from whatever device it is on."""
    # clone: safetensors refuses tensors that share memory
    save_file({key: value.detach().to("cpu").contiguous().clone() for key, value in state.items()}, path)


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a safetensors file.

    Raises:
        CheckpointError: missing, truncated, or not a safetensors file.
    """
    try:
        return load_file(path)
    except (OSError, safetensors.SafetensorError, ValueError) as error:
        what = f"cannot be read as safetensors ({' '.join(str(error).split())}); truncated, or of another kind"
        raise CheckpointError(what, where=str(path)) from error


def read_torch(path: Path, *, trust_pickle: bool = False) -> Any:
    """Content of a file written by ``torch.save``, on the CPU. Executes no code unless ``trust_pickle``.

    Raises:
        CheckpointError: missing, truncated, of another kind, or in need of unpickling that was not allowed.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=not trust_pickle)
    except pickle.UnpicklingError as error:
        if "weights_only" not in str(error).lower() and "Unsupported" not in str(error):
            raise CheckpointError("cannot be read; truncated, or of another kind", where=str(path)) from error
        raise CheckpointError(
            "holds more than tensors and plain values: reading it would execute code from the file",
            where=str(path),
            cure="If you trust where it came from, allow that with --trust-pickle",
        ) from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        what = f"cannot be read ({type(error).__name__}: {reason}); truncated, or of another kind"
        raise CheckpointError(what, where=str(path)) from error


def load_weights(model: torch.nn.Module, state: Mapping[str, Tensor], where: str) -> list[str]:
    """Load ``state`` into ``model``, without the weights of stages that a backbone of it ends before.

    Returns:
        Notes on what was left aside.

    Raises:
        CheckpointError: missing or unexpected keys, or other shapes; lists them.
    """
    own, state = model.state_dict(), dict(state)
    notes = leave_unread(state, model)
    problems = [f"missing {key}" for key in own if key not in state]
    problems += [f"unexpected {key}" for key in state if key not in own]
    problems += [
        f"{key} has shape {tuple(value.shape)} instead of {tuple(own[key].shape)}"
        for key, value in state.items()
        if key in own and own[key].shape != value.shape
    ]
    if problems:
        shown = "; ".join(problems[:8]) + (f"; and {len(problems) - 8} more" if len(problems) > 8 else "")
        raise CheckpointError(
            f"does not fit the model: {shown}", where=where, cure="Give the configuration it was made with"
        )
    model.load_state_dict(state)
    return notes
