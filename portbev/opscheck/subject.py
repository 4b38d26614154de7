"""What is judged: a call of an operator with its values, on a device and in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from portbev.opscheck.rounding import Results

DOUBLE = dict.fromkeys((torch.complex32, torch.complex64, torch.complex128), torch.complex128)
Operands = Mapping[str, Tensor]
Compute = Callable[[Operands], Any]


@dataclass(frozen=True)
class Subject:
    """A call of an operator.

    Attributes:
        operator: name for people, ``deform_attn`` or ``conv2d``.
        case: which of its calls.
        dtype: of what may be in half precision.
        operands: its float (and complex) tensors by name, on the host, in the dtypes that the device gets.
        trained: operands that a gradient is taken of.
        define: the definition, for float64 operands on the host.
        on: the same on a device, for operands there.
        size: shapes that are judged, JSON.
        scaled_from: the shapes that a model has, where those would take minutes; empty where they are the same.
        call: the operator's named tuple, of portable operators.
        unit: half a unit in the last place of what sums and intermediate results are in, relative.
        check_non_finite: whether a NaN and an infinity among the operands are judged as well.
    """

    operator: str
    case: str
    dtype: torch.dtype
    operands: dict[str, Tensor]
    trained: tuple[str, ...]
    define: Compute
    on: Callable[[torch.device], Compute]
    size: dict[str, Any]
    scaled_from: dict[str, Any] = field(default_factory=dict)
    call: Any = None
    unit: float = 2.0**-24
    check_non_finite: bool = True

    @property
    def key(self) -> str:
        """Names it in a document and seeds its random numbers."""
        return f"{self.operator}|{self.case}|{str(self.dtype).removeprefix('torch.')}"


def redrawn(subject: Subject, seed: int) -> Subject:
    """The subject with other values: each number is made smaller by up to a third, at random."""
    generator = torch.Generator().manual_seed(seed)
    operands = {
        name: (value * (1 - torch.rand(value.shape, generator=generator, dtype=torch.float64) / 3)).to(value.dtype)
        for name, value in subject.operands.items()
    }
    return replace(subject, operands=operands, check_non_finite=False)


def doubled(operands: Operands) -> dict[str, Tensor]:
    """The same values in float64 or complex128."""
    return {name: value.to(DOUBLE.get(value.dtype, torch.float64)) for name, value in operands.items()}


def evaluate(
    compute: Compute, operands: Operands, trained: tuple[str, ...], grads: list[Tensor], dtype: torch.dtype
) -> Results:
    """Results by name, and the gradients of their inner product with ``grads`` by the operands ``trained``.

    Args:
        grads: float64, on the host, one for each float result. Those that are missing are drawn and appended, so that
            the next evaluation has the same.
        dtype: in which the drawn ones are exact.

    Returns:
        Complex ones as pairs of real numbers, detached, where they were computed.
    """
    leaves = {k: v.detach().clone().requires_grad_(k in trained) for k, v in operands.items()}
    with torch.set_grad_enabled(bool(trained)):
        found = [leaf for leaf in tree_leaves(compute(leaves)) if isinstance(leaf, Tensor)]
    named = {("result" if index == 0 else f"result {index + 1}"): _real(value) for index, value in enumerate(found)}
    if trained:
        roots = [value for value in named.values() if value.requires_grad]
        while len(grads) < len(roots):
            grads.append(_weights(roots[len(grads)], len(grads), dtype))
        if roots:
            seeds = [grad.to(root.device, root.dtype) for grad, root in zip(grads, roots, strict=False)]
            slopes = torch.autograd.grad(roots, [leaves[k] for k in trained], seeds, allow_unused=True)
            named |= {
                f"gradient of {name}": _real(torch.zeros_like(leaves[name]) if slope is None else slope)
                for name, slope in zip(trained, slopes, strict=True)
            }
    return {name: value.detach() for name, value in named.items()}


def _weights(root: Tensor, number: int, dtype: torch.dtype) -> Tensor:
    """Normal numbers that are exact in the dtype of the result and of the operands."""
    generator = torch.Generator().manual_seed(97 + number)
    drawn = torch.randn(root.shape, dtype=torch.float64, generator=generator)
    return drawn.to(dtype if dtype in (torch.float16, torch.bfloat16) else torch.float32).double()


def _real(value: Tensor) -> Tensor:
    return torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
