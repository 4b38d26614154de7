"""Half-precision outputs become float32 wherever they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import pytest
import torch

from portbev.outputs import in_float32


class Pair(NamedTuple):
    first: torch.Tensor
    rest: list[dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Found:
    value: torch.Tensor
    name: str = "x"


@pytest.mark.parametrize("half", [torch.float16, torch.bfloat16])
def test_every_nested_half_tensor_is_found_and_nothing_else_changes(half: torch.dtype) -> None:
    one = torch.tensor([1.5], dtype=half, requires_grad=True)
    whole, double = torch.tensor([3]), torch.tensor([1.0], dtype=torch.float64)
    pair = in_float32(Pair(one, [{"a": one, "n": whole}]))
    assert isinstance(pair, Pair) and pair.first.dtype == torch.float32 and pair.rest[0]["a"].dtype == torch.float32
    assert pair.rest[0]["n"] is whole and in_float32(double) is double
    found = in_float32(Found(one))
    assert isinstance(found, Found) and found.value.dtype == torch.float32 and found.name == "x"
    (pair.first * 2).sum().backward()
    assert one.grad is not None and one.grad.dtype == half and one.grad.item() == 2
