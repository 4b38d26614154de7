"""Gradients of a vendor's function inside a backward operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor) -> tuple[Tensor, ...]:
    """Vector-Jacobian product of ``function`` at ``inputs`` with ``grad``, by the function's own autograd.

    The function runs forward once more: a backward operator sees the forward's arguments and not what the vendor's
    autograd function kept. Operators run below autograd; leaving inference mode puts it back for the call.
    """
    with torch.inference_mode(False), torch.enable_grad():
        leaves = [tensor.detach().requires_grad_() for tensor in inputs]
        return torch.autograd.grad(function(*leaves), leaves, grad)
