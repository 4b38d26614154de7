"""Gradients of a differentiable function of a call, for backward kernels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor


def gradients(
    function: Callable[[Any], Tensor], call: Any, fields: Sequence[str], grad_out: Tensor
) -> tuple[Tensor, ...]:
    """Gradients by ``fields`` of the call, by the function's own autograd.

    The function runs forward once more: a backward kernel sees the call and not what the function's autograd kept.
    Kernels run below autograd and perhaps in inference mode; both are put right for the call.

    Args:
        call: a named tuple.
        fields: of its tensors. One that is None gets an empty tensor.
        grad_out: the gradient of a loss by ``function(call)``.
    """
    given = [name for name in fields if getattr(call, name) is not None]
    with torch.inference_mode(False), torch.enable_grad():
        leaves = {name: getattr(call, name).detach().requires_grad_() for name in given}
        found = torch.autograd.grad(function(call._replace(**leaves)), list(leaves.values()), grad_out)
    by_name = dict(zip(given, found, strict=True))
    return tuple(by_name[name] if name in by_name else grad_out.new_empty(0) for name in fields)
