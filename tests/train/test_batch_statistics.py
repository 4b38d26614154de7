"""A batch normalisation with one value of each channel, wherever in a model, is one line that names the cure."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from portbev.errors import ConfigError
from portbev.train.step import OptimizerStep


def backward(forward: Any) -> None:
    step = OptimizerStep.__new__(OptimizerStep)
    step.forward = forward  # type: ignore[method-assign]
    step._backward([{}], 0)  # type: ignore[list-item]


def test_a_normalisation_without_variance_is_one_line() -> None:
    norm = nn.BatchNorm2d(4).train()
    with pytest.raises(ConfigError, match=r"^train.batch_size: .*one value of each channel.*Raise train.batch_size"):
        backward(lambda *_: norm(torch.zeros(1, 4, 1, 1)))


def test_another_wrong_value_stays_what_it_is() -> None:
    def forward(*_: Any) -> None:
        raise ValueError("something else")

    with pytest.raises(ValueError, match="something else"):
        backward(forward)
