"""The reference kernels on the host memory of npu tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import KERNELS
from portbev_emulated.memory import on_device, to_device_alias, to_host_alias


def forward(operator: str, call: Any) -> Any:
    """Reference kernel of ``operator``, forward, with npu tensors in and out."""
    return on_host(KERNELS.references[operator].run, call)


def backward(operator: str, grad_out: Tensor, call: Any) -> Any:
    """Reference kernel of ``operator``, backward, with npu tensors in and out."""
    return on_host(KERNELS.references[operator].run, call, grad_out)


def on_host(kernel: Callable[..., Any], *arguments: Any) -> Any:
    """``kernel`` on CPU aliases of the npu tensors in its arguments; its results become npu tensors. No gradient
    history."""
    with torch.no_grad():
        result = kernel(*(_host(argument) for argument in arguments))
    if isinstance(result, Tensor):
        return to_device_alias(result)
    return tuple(to_device_alias(value) for value in result)


def _host(argument: Any) -> Any:
    """A CPU alias of a tensor, or a call with its tensors replaced by such; anything else as it is."""
    if hasattr(argument, "_fields"):
        return type(argument)(*(_host(value) for value in argument))
    return to_host_alias(argument.detach()) if on_device(argument) else argument
