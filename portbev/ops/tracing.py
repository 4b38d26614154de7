"""Which operators a model calls, with which shapes and dtypes, without computing anything.

>>> with CallTrace() as trace:  # a model and a batch on the device "meta"
...     model(batch).sum().backward()
>>> trace.calls[0].operator, trace.calls[0].call.input.shape
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from portbev.kernels import Direction
from portbev.ops.operator import OPERATORS

_BACKWARD = "_backward"


@dataclass(frozen=True)
class TracedCall:
    """A call of an operator of :mod:`portbev.ops`.

    Attributes:
        operator: its name.
        call: the arguments that kernels get.
        grad_out: of the backward; None in the forward.
        trained: of the forward: fields that a gradient is taken of.
    """

    operator: str
    call: Any
    grad_out: Tensor | None = None
    trained: tuple[str, ...] = ()

    @property
    def direction(self) -> Direction:
        return "forward" if self.grad_out is None else "backward"


class CallTrace(TorchDispatchMode):
    """While inside, calls of portable operators are written down, forward and backward, in their order.

    On tensors of the device "meta" nothing is computed: a model of any size is traced in a second or so.

    Attributes:
        calls: what was called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[TracedCall] = []
        self._gradients = torch.is_grad_enabled()  # within an operator of ours they are off

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        namespace, _, name = func.name().partition("::")
        if namespace == "portbev":
            self.calls.append(_traced(name, args, self._gradients))
        else:
            self._gradients = torch.is_grad_enabled()
        return func(*args, **(kwargs or {}))


def _traced(name: str, arguments: tuple[Any, ...], gradients: bool) -> TracedCall:
    if name in OPERATORS:
        call = OPERATORS[name].forward_call(*arguments)
        fields = call._asdict().items() if gradients else ()
        trained = (label for label, value in fields if isinstance(value, Tensor) and value.requires_grad)
        return TracedCall(name, call, trained=tuple(trained))
    operator, (grad_out, *kept) = OPERATORS[name.removesuffix(_BACKWARD)], arguments
    return TracedCall(operator.name, operator.backward_call(grad_out, *kept), grad_out)
