"""What mixed precision does to layers that run without a gradient first."""

from __future__ import annotations

import torch
from torch import nn

from portbev.nn.precision import without_gradient


def test_layers_that_ran_without_a_gradient_get_one_afterwards_under_the_same_autocast() -> None:
    """torch 2.8 and 2.9 keep the cast that was made without a gradient, and give none."""
    layer, x = nn.Linear(3, 3), torch.ones(2, 3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        with without_gradient():
            assert not layer(x).requires_grad
        layer(x).sum().backward()
    assert layer.weight.grad is not None
