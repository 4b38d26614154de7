"""Definitions have the gradients of finite differences, and every kernel that runs on this machine computes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from portbev.kernels import KERNELS, Kernel
from portbev.ops.deform_attn import DeformAttnCall
from portbev.ops.deform_conv2d import DeformConv2dCall
from portbev.ops.dropout import DropoutCall
from portbev.ops.fft import FftCall
from portbev.ops.gradients import gradients
from portbev.ops.ms_deform_attn import MsDeformAttnCall
from portbev.ops.operator import OPERATORS, BackwardOperator
from portbev.ops.voxel_pool import VoxelPoolCall
from portbev.ops.voxel_pool_lift import VoxelPoolLiftCall
from portbev.opscheck.small import Case, cases, in_float64, results
from portbev.plugins import plugins


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def cells(*shape: int) -> Tensor:
    return torch.randint(-1, 4, (*shape, 3), generator=torch.Generator().manual_seed(9), dtype=torch.int32)


GEOMETRY: dict[str, Any] = {"stride": [2, 1], "padding": [1, 0], "dilation": [1, 2], "groups": 2, "deform_groups": 2}
OFFSET, MASK = normal(1, 24, 3, 4, seed=1), normal(1, 12, 3, 4, seed=3).sigmoid()  # kernels of three rows, two columns
SMALL: dict[str, Any] = {
    "deform_conv2d v1": DeformConv2dCall(
        normal(1, 4, 5, 6), OFFSET, normal(2, 2, 3, 2, seed=2), None, None, **GEOMETRY
    ),
    "deform_conv2d v2": DeformConv2dCall(
        normal(1, 4, 5, 6), OFFSET, normal(2, 2, 3, 2, seed=2), MASK, normal(2, seed=4), **GEOMETRY
    ),
    "dropout": DropoutCall(normal(3, 5), 0.4, 1, 2, 3),
    "fft of reals": FftCall(normal(2, 5), False, "ortho"),
    "fft of complex": FftCall(normal(2, 6, dtype=torch.complex128), True, "backward"),
    "deform_attn of queries": DeformAttnCall(
        normal(2, 10, 2, 3),
        normal(4, 2, 2, 2, 2, seed=1),
        normal(4, 2, 2, 2, seed=2),
        0.5 + 0.3 * normal(4, 2, 1, 2, seed=3),
        None,
        torch.tensor([2, 2]),
        [2, 3, 4, 1],
        per_level=True,
        reference_gradient=True,
    ),
    "deform_attn of pairs": DeformAttnCall(
        normal(3, 10, 2, 3),
        normal(4, 2, 2, 4, 2, seed=1),
        normal(4, 2, 2, 4, seed=2),
        0.5 + 0.3 * normal(6, 1, 2, 2, seed=3),
        torch.tensor([0, 3, 1, 1, 0, 0]),
        torch.tensor([3, 0, 3]),
        [2, 3, 4, 1],
        per_level=False,
        reference_gradient=True,
    ),
    "ms_deform_attn": MsDeformAttnCall(
        normal(3, 10, 2, 3),
        0.5 + 0.4 * normal(5, 2, 2, 2, 2),
        normal(5, 2, 2, 2),
        torch.tensor([3, 0, 2]),
        [2, 3, 4, 1],
    ),
    "voxel_pool": VoxelPoolCall(normal(2, 9, 3), cells(2, 9), [3, 2, 3]),
    "voxel_pool_lift": VoxelPoolLiftCall(normal(1, 2, 3, 2, 2), normal(1, 2, 2, 2, 2), cells(1, 2, 3, 2, 2), [3, 2, 3]),
}


def label(value: Kernel | Case) -> str:
    return value.provider if isinstance(value, Kernel) else f"{value.operator} {value.name}"


def usable() -> Iterator[tuple[Kernel, Case]]:
    """The kernels of every plugin that need nothing that is missing here, with the cases of their operators.

    Those for a GPU alone take none of the CPU's tensors; the conformance suite judges them on the device.
    """
    for kernel in (*plugins().kernels(), *KERNELS.references.values()):
        if not (kernel.backends and set(kernel.backends) <= {"cuda", "rocm"}) and kernel.probe() is None:
            yield from ((kernel, case) for case in cases() if case.operator == kernel.operator)


USABLE = list(usable())
WITH_BACKWARD = [(kernel, case) for kernel, case in USABLE if kernel.backward is not None]


def operator_of(name: str) -> str:
    return name.split(maxsplit=1)[0]


@pytest.fixture(autouse=True)
def by_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calls of an operator are served by its reference."""
    monkeypatch.setattr(KERNELS, "_active", {})


def test_every_operator_is_listed_here() -> None:
    assert {operator_of(name) for name in SMALL} == set(OPERATORS) == set(KERNELS.references)


@pytest.mark.parametrize("name", SMALL)
def test_gradients_of_a_definition_are_those_of_finite_differences(name: str) -> None:
    call, definition = SMALL[name], OPERATORS[operator_of(name)].definition
    fields = [field for field, value in call._asdict().items() if isinstance(value, Tensor) and _differentiable(value)]

    def run(*leaves: Tensor) -> Tensor:
        found = definition(call._replace(**dict(zip(fields, leaves, strict=True))))
        return found[0] if isinstance(found, tuple) else found

    torch.autograd.gradcheck(run, [getattr(call, field).clone().requires_grad_() for field in fields])


@pytest.mark.parametrize("name", SMALL)
def test_an_operator_has_the_values_and_gradients_of_its_definition(name: str) -> None:
    operator = OPERATORS[operator_of(name)]
    for one, other in zip(results(operator, SMALL[name]), results(operator.definition, SMALL[name]), strict=True):
        torch.testing.assert_close(one, other)


def test_the_kernels_of_the_cpu_and_all_references_are_judged_here() -> None:
    judged = {(kernel.operator, kernel.provider) for kernel, _ in USABLE}
    references = {(operator, "reference") for operator in OPERATORS}
    assert judged >= references | {("fft", "matrix_dft")} | {
        (operator, "cpu_fast") for operator in ("deform_attn", "dropout", "ms_deform_attn")
    }


@pytest.mark.parametrize(("kernel", "case"), USABLE, ids=label)
def test_a_kernel_has_the_values_of_the_definition(kernel: Kernel, case: Case) -> None:
    call = in_float64(case.call)
    assert kernel.refusal(call) is None
    found, defined = kernel.run(call), OPERATORS[case.operator].definition(call)
    found, defined = (value if isinstance(value, tuple) else (value,) for value in (found, defined))
    for one, other in zip(found, defined, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(("kernel", "case"), WITH_BACKWARD, ids=label)
def test_a_kernel_has_the_gradients_of_the_definition(kernel: Kernel, case: Case) -> None:
    call, operator = in_float64(case.call), OPERATORS[case.operator]
    assert isinstance(operator.gradient, BackwardOperator)
    out = operator.definition(call)
    grad_out = normal(*out.shape, seed=5)
    defined = gradients(operator.definition, call, operator.gradient.differentiable, grad_out)
    as_in_a_backward = operator.backward_call(grad_out, *(getattr(call, name) for name in operator.kept))
    found = kernel.run(as_in_a_backward, grad_out)
    for one, other in zip(found if isinstance(found, tuple) else (found,), defined, strict=True):
        torch.testing.assert_close(one, other)


def test_dropout_keeps_exactly_the_elements_that_the_definition_keeps() -> None:
    call = DropoutCall(torch.ones(203, dtype=torch.bfloat16), 0.3, -5, 2**32 - 1, 7)
    for kernel in {kernel for kernel, case in USABLE if case.operator == "dropout"}:
        for one, other in zip(kernel.run(call), OPERATORS["dropout"].definition(call), strict=True):
            assert torch.equal(one, other)


def _differentiable(value: Tensor) -> bool:
    return value.is_floating_point() or value.is_complex()
