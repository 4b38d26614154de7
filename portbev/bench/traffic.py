"""What an operator must move and compute: bytes and FLOPs by formula, the least that any kernel needs.

Bytes: every tensor of the call is read once and every result is written once; a backward reads the gradient of the
result and what the operator keeps, and writes the gradients that are asked for. FLOPs: by the operator's formula in
:mod:`portbev.bench.sketches`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from portbev.bench.sketches import sketch_of
from portbev.ops.operator import OPERATORS, BackwardOperator


@dataclass(frozen=True)
class Work:
    """Bytes moved and FLOPs computed."""

    bytes: int
    flops: int

    def seconds(self, bandwidth: float, peak: float) -> float:
        """The least time on a device of that many bytes/s and FLOP/s."""
        return max(self.bytes / bandwidth, self.flops / peak)


@dataclass(frozen=True)
class Traffic:
    """Of a forward and, where there is one, of its backward alone."""

    forward: Work
    backward: Work | None


def size(value: Any) -> int:
    """Bytes of a tensor, 0 for anything else."""
    return value.numel() * value.element_size() if isinstance(value, Tensor) else 0


def traffic(operator: str, call: Any, trained: tuple[str, ...]) -> Traffic:
    """The work of a call whose tensors are anywhere; ``trained``: fields that a gradient is taken of."""
    sketch, op = sketch_of(operator), OPERATORS[operator]
    fields = {name: _on_meta(value) for name, value in call._asdict().items()}
    results = op(op.forward_call(*fields.values()))
    results = results if isinstance(results, tuple) else (results,)
    forward = Work(sum(map(size, fields.values())) + sum(map(size, results)), sketch.forward(call))
    if not trained:
        return Traffic(forward, None)
    # A gradient that is written with other functions keeps what is among the further results.
    kept = [fields[name] for name in op.kept] if isinstance(op.gradient, BackwardOperator) else list(results[1:])
    gradients = sum(size(fields[name]) for name in trained)
    backward = Work(size(results[0]) + sum(map(size, kept)) + gradients, sketch.backward(call, trained))
    return Traffic(forward, backward)


def _on_meta(value: Any) -> Any:
    """Tensors without values; counts on the host (whose values a schema may ask for) stay."""
    if not isinstance(value, Tensor) or (value.device.type == "cpu" and value.dtype == torch.int64):
        return value
    return value.to("meta")
