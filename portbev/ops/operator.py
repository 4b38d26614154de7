"""Makes an operator of torch out of what an operator's file states: its call, its definition and its gradient.

The schema, the fake kernels (which tell ``torch.compile`` and ``torch.export`` the shapes of results), the way through
autograd and the way to the kernels are the same for all operators, and are written here once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import GenericAlias
from typing import Any, Generic, TypeVar, get_type_hints

import torch
from torch import Tensor

from portbev.kernels import KERNELS
from portbev.ops.precision import autocast_off

Call = TypeVar("Call", bound=tuple[Any, ...])


@dataclass(frozen=True)
class BackwardOperator:
    """The gradient is an operator of its own, ``portbev::NAME_backward``, which kernels serve.

    Its arguments are the gradient of the result and the fields of the call, except those left out.

    Attributes:
        differentiable: fields that it has a gradient for, in the order of its results. An optional field that is None
            gets an empty tensor.
        left_out: fields that are not kept for the backward, because no gradient needs their values. Each has a function
            of the backward operator's arguments that says what kernels find in their place.
        formulas: further fields, whose gradient follows from the gradient of the result alone.
        on_demand: of the differentiable fields those that are costly and seldom asked for, each with a bool field of
            the call. Autograd sets that in a backward; where it is false the gradient is an empty tensor.
    """

    differentiable: tuple[str, ...]
    left_out: Mapping[str, Callable[..., Tensor | None]] = field(default_factory=dict)
    formulas: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)
    on_demand: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Formula:
    """The gradient is written with functions that have gradients themselves: it can be differentiated again.

    Both are what :func:`torch.library.register_autograd` takes.
    """

    setup_context: Callable[..., None]
    backward: Callable[..., Any]


class Operator(Generic[Call]):
    """A ``torch.library`` operator ``portbev::NAME``, served by the kernels of :data:`portbev.kernels.KERNELS`.

    Attributes:
        kept: fields of the call that are kept for the backward operator and are its arguments, after the gradient.

    Args:
        name: of the operator.
        call_type: named tuple of the arguments, whose fields and annotations are the schema; the first is a tensor.
        definition: the operator in a few lines of plain torch, from a call to the results. It says what is right and is
            what kernels are judged by; nothing is computed with it otherwise.
        fake: from a call to empty results, contiguous.
        gradient: how it is differentiated.
        results: how many tensors it returns.
    """

    def __init__(
        self,
        name: str,
        call_type: Callable[..., Call],
        *,
        definition: Callable[[Call], Any],
        fake: Callable[[Call], Any],
        gradient: BackwardOperator | Formula,
        results: int = 1,
    ) -> None:
        self.name, self.definition, self.gradient = name, definition, gradient
        self._call, self._types = call_type, get_type_hints(call_type)
        self._op = _custom_op(name, self._types, results, self._forward)
        self._op.register_fake(lambda *arguments: fake(call_type(*arguments)))
        self.kept: list[str] = []
        if isinstance(gradient, Formula):
            self._op.register_autograd(gradient.backward, setup_context=gradient.setup_context)
        else:
            self.kept = [label for label in self._types if label not in gradient.left_out]
            self._add_backward(gradient)
        OPERATORS[name] = self

    def __call__(self, call: Call) -> Any:
        """Compute ``call`` by the best kernel; differentiable."""
        return self._op(*call)

    def forward_call(self, *arguments: Any) -> Call:
        """The call that kernels get for the arguments of torch's operator."""
        return self._call(*arguments)

    def backward_call(self, grad_out: Tensor, *kept: Any) -> Call:
        """The call that kernels get in a backward: the fields kept, and stand-ins for those left out."""
        assert isinstance(self.gradient, BackwardOperator)
        left_out = {name: stand_in(grad_out, *kept) for name, stand_in in self.gradient.left_out.items()}
        return self._call(**dict(zip(self.kept, kept, strict=True)), **left_out)

    def _forward(self, *arguments: Any) -> Any:
        device_type = arguments[0].device.type
        with autocast_off(device_type):
            return KERNELS.dispatch(self.name, device_type, self.forward_call(*arguments))

    def _backward(self, grad: Tensor, *kept: Any) -> Any:
        with autocast_off(grad.device.type):
            return KERNELS.dispatch(self.name, grad.device.type, self.backward_call(grad, *kept), grad)

    def _fake_backward(self, grad: Tensor, *kept: Any) -> Any:
        assert isinstance(self.gradient, BackwardOperator)
        call = self.backward_call(grad, *kept)
        idle = {name for name, asked in self.gradient.on_demand.items() if not getattr(call, asked)}
        inputs = [None if name in idle else getattr(call, name) for name in self.gradient.differentiable]
        found = [grad.new_empty(0) if t is None else grad.new_empty(t.shape, dtype=t.dtype) for t in inputs]
        return tuple(found) if len(found) > 1 else found[0]

    def _add_backward(self, gradient: BackwardOperator) -> None:
        tensors = [name for name in self.kept if self._types[name] in (Tensor, Tensor | None)]
        others = [name for name in self.kept if name not in tensors]
        types = {"grad": Tensor, **{name: self._types[name] for name in self.kept}}
        backward_op = _custom_op(f"{self.name}_backward", types, len(gradient.differentiable), self._backward)
        backward_op.register_fake(self._fake_backward)

        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
            call = dict(zip(self._types, inputs, strict=True))
            ctx.save_for_backward(*(call[name] for name in tensors))
            ctx.others = [call[name] for name in others]

        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
            grad = grad.contiguous()  # the order in which a sum over it adds follows its strides
            values = dict(zip([*tensors, *others], [*ctx.saved_tensors, *ctx.others], strict=True))
            needs = dict(zip(self._types, ctx.needs_input_grad, strict=True))
            values.update({asked: needs[name] for name, asked in gradient.on_demand.items()})
            found = backward_op(grad, *(values[name] for name in self.kept))
            found = found if isinstance(found, tuple) else (found,)
            gradients = dict(zip(gradient.differentiable, found, strict=True))
            for name, needed in needs.items():
                if name in gradient.formulas and needed:
                    gradients[name] = gradient.formulas[name](grad)
                elif values.get(name, grad) is None or (name in gradient.on_demand and not needed):
                    gradients.pop(name, None)
            return tuple(gradients.get(name) for name in self._types)

        self._op.register_autograd(backward, setup_context=setup_context)


OPERATORS: dict[str, Operator[Any]] = {}
"""All operators by name; importing :mod:`portbev.ops` fills it."""


def _custom_op(name: str, types: Mapping[str, Any], results: int, body: Callable[..., Any]) -> Any:
    """``portbev::NAME`` with arguments of these names and types, and ``results`` tensors as its result."""

    def prototype() -> None:
        """Has the signature that torch reads the schema from."""

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter(label, kind, annotation=annotation) for label, annotation in types.items()]
    result: Any = Tensor if results == 1 else GenericAlias(tuple, (Tensor,) * results)
    vars(prototype)["__signature__"] = inspect.Signature(parameters, return_annotation=result)
    schema = torch.library.infer_schema(prototype, mutates_args=())
    return torch.library.custom_op(f"portbev::{name}", body, mutates_args=(), schema=schema)
