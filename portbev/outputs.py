"""Converts a model's half-precision outputs to float32."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from torch import Tensor


def in_float32(outputs: Any) -> Any:
    """A copy of nested outputs with every half-precision tensor converted to float32; gradients pass through.

    Tensors in lists, tuples, mappings, named tuples and dataclasses are converted. Other objects stay as they are.
    """
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype in (torch.float16, torch.bfloat16) else outputs
    if isinstance(outputs, Mapping):
        return {key: in_float32(value) for key, value in outputs.items()}
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return type(outputs)(*map(in_float32, outputs))
    if isinstance(outputs, (list, tuple)):
        return type(outputs)(map(in_float32, outputs))
    if is_dataclass(outputs) and not isinstance(outputs, type):
        changed = {field.name: in_float32(getattr(outputs, field.name)) for field in fields(outputs) if field.init}
        return replace(outputs, **changed)
    return outputs
