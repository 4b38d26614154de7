"""The reference kernels on the host memory of npu tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import KERNELS
from portbev_emulated.memory import on_device, to_device_alias, to_host_alias


def forward(operator: str, *arguments: Any) -> Any:
    """Reference kernel of ``operator``, forward, with npu tensors in and out."""
    return on_host(KERNELS.references[operator].forward, *arguments)


def backward(operator: str, *arguments: Any) -> Any:
    """Reference kernel of ``operator``, backward, with npu tensors in and out."""
    kernel = KERNELS.references[operator].backward
    assert kernel is not None
    return on_host(kernel, *arguments)


def on_host(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """``kernel`` on CPU aliases of npu tensors; its results become npu tensors. No gradient history."""
    with torch.no_grad():
        result = kernel(*(to_host_alias(a.detach()) if on_device(a) else a for a in arguments))
    if isinstance(result, Tensor):
        return to_device_alias(result)
    return tuple(to_device_alias(value) for value in result)
