"""What autocast means for an operator.

The dtypes of a call are decided before the operator: by :func:`autocast_to` (deformable convolution, a product of
matrices: the autocast dtype) or :func:`autocast_to_float32` (sums of many terms, transforms). The kernel then computes
in the dtypes it is given, with autocast off, so that float32 accumulation inside it stays float32.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

HALF = (torch.float16, torch.bfloat16)


def autocast_on(device_type: str) -> bool:
    """Whether this is an autocast region on ``device_type``. torch raises where it is asked for "meta"."""
    return device_type != "meta" and torch.is_autocast_enabled(device_type)


def autocast_dtype(device_type: str) -> torch.dtype | None:
    """The dtype of an autocast region on ``device_type``, None outside of one."""
    return torch.get_autocast_dtype(device_type) if autocast_on(device_type) else None


def autocast_to(input: Tensor) -> torch.dtype:
    """The dtype a call with ``input`` computes in: the autocast dtype (float64 is left alone), else the input's."""
    dtype = autocast_dtype(input.device.type)
    return input.dtype if dtype is None or input.dtype == torch.float64 else dtype


def autocast_to_float32(tensor: Tensor) -> Tensor:
    """``tensor``, in float32 if it is float16 or bfloat16 and autocast is on for its device."""
    return tensor.float() if tensor.dtype in HALF and autocast_dtype(tensor.device.type) is not None else tensor


def autocast_off(device_type: str) -> AbstractContextManager[object]:
    """A region without autocast on ``device_type``: it would cast the products inside a kernel."""
    return torch.autocast(device_type, enabled=False) if autocast_on(device_type) else nullcontext()


def widened(tensor: Tensor) -> Tensor:
    """float16 and bfloat16 in float32, others as they are: what kernels accumulate in."""
    return tensor.float() if tensor.dtype in HALF else tensor
