"""Operators with one thing wrong are accused, and told what is wrong; right ones are not."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from portbev import ops
from portbev.backend import Backend
from portbev.bench.contenders import ranking
from portbev.kernels import KERNELS, Kernel
from portbev.opscheck.checking import Oracle
from portbev.opscheck.portable import small_subjects
from portbev.opscheck.running import Provider, judged
from portbev.opscheck.subject import Subject
from portbev.runtime import activate

sys.path.insert(0, str(Path(__file__).parents[1] / "parity"))

from faults.catalogue import FAULTS

SUBJECTS = small_subjects([torch.float32, torch.bfloat16])
ORACLES: dict[str, Oracle] = {}
assert ops.__all__


@pytest.fixture(scope="module")
def cpu() -> Iterator[Backend]:
    yield activate("cpu")
    activate("cpu")


def oracle_of(subject: Subject) -> Oracle:
    """Computed once."""
    if subject.key not in ORACLES:
        ORACLES[subject.key] = Oracle.of(subject)
    return ORACLES[subject.key]


def rows(backend: Backend, operator: str, kernel: Kernel, dtype: str = "float32") -> list[dict[str, Any]]:
    """The small calls of an operator by a kernel."""
    found = [s for s in SUBJECTS if s.operator == operator and s.key.endswith(f"|{dtype}")]
    assert found
    ranked = ranking(backend)
    return [judged(oracle_of(subject), Provider(kernel.provider, kernel), backend, ranked) for subject in found]


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.key)
def test_no_provider_of_the_cpu_is_accused(cpu: Backend, subject: Subject) -> None:
    ranked = ranking(cpu)
    for kernel in ranked[subject.operator].kernels:
        row = judged(oracle_of(subject), Provider(kernel.provider, kernel), cpu, ranked)
        assert row["verdict"] == "rounding", row


IN_OPERATORS = [fault for fault in FAULTS.values() if fault.operator]


@pytest.mark.parametrize("fault", IN_OPERATORS, ids=lambda fault: fault.name)
def test_every_catalogued_fault_that_lives_in_an_operator_is_a_fault(cpu: Backend, fault: Any) -> None:
    for kernel in fault.kernels():
        found = rows(cpu, kernel.operator, kernel)
        wrong = [row for row in found if row["verdict"] == "fault"]
        assert wrong, fault.name
        if fault.name in LOOKS:
            assert any(LOOKS[fault.name] in row["look_at"] for row in wrong), [row["look_at"] for row in wrong]


LOOKS = {
    "align_corners": "as if align_corners were true",
    "swapped_offsets": "as if x and y of the offsets were swapped",
    "mask_ignored": "as if the mask were ignored",
    "pooling_off_by_one": "as if cells were +1 along x",
    "gradient_times_1_001": "times 1.001",
    "dropped_term": "look at its backward",
    "shifted_dropout": "as if each element had the mask of the one before",
}


def _tf32(x: Tensor) -> Tensor:
    return ((x.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def _bf16(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def planted(
    operator: str,
    forward: Callable[[Any, Any], Any] = lambda out, call: out,
    backward: Callable[[Any, Any], Any] = lambda out, call: out,
    arguments: Callable[[Any], Any] = lambda call: call,
    deterministic: bool = True,
) -> Kernel:
    """The reference, whose results, gradients or arguments are spoilt."""
    right = KERNELS.references[operator]
    back = right.backward
    return Kernel(
        operator,
        "planted",
        lambda call: forward(right.forward(arguments(call)), call),
        None if back is None else lambda grad, call: backward(back(grad, arguments(call)), call),
        deterministic=deterministic,
    )


def _each(change: Callable[[Tensor], Tensor]) -> Callable[[Any, Any], Any]:
    """Every float result is changed."""
    return lambda out, call: tuple(change(x) for x in out) if isinstance(out, tuple) else change(out)


def _floats(change: Callable[[Tensor], Tensor]) -> Callable[[Any], Any]:
    """Every float32 argument is changed."""
    return lambda call: call._replace(
        **{k: change(v) for k, v in call._asdict().items() if isinstance(v, Tensor) and v.dtype == torch.float32}
    )


def _one_row_left_out(out: Tensor, call: Any) -> Tensor:
    out = out.clone()
    out.view(-1)[-3:] = 0
    return out


MORE = {
    "products in bfloat16": (planted("deform_conv2d", arguments=_floats(_bf16)), "bfloat16"),
    "products in TF32": (planted("deform_conv2d", arguments=_floats(_tf32)), "TF32"),
    "values in bfloat16": (planted("voxel_pool", forward=_each(_bf16)), "bfloat16"),
    "a backward in TF32": (planted("ms_deform_attn", backward=_each(_tf32)), "look at its backward"),
    "a bias of 1e-6": (planted("ms_deform_attn", forward=_each(lambda x: x * (1 + 1e-6))), "about 1.000001"),
    "a bias of 1e-6 in a backward": (planted("deform_conv2d", backward=_each(lambda x: x * (1 - 1e-6))), "0.999999"),
    "a gradient of 1.001": (planted("voxel_pool_lift", backward=_each(lambda x: x * 1.001)), "times 1.001"),
    "x and y swapped": (
        planted("ms_deform_attn", arguments=lambda call: call._replace(locations=call.locations.flip(-1))),
        "x and y were swapped",
    ),
    "dx and dy swapped": (
        planted(
            "deform_conv2d",
            arguments=lambda c: c._replace(offset=c.offset.unflatten(1, (-1, 2)).flip(2).flatten(1, 2).contiguous()),
        ),
        "dx and dy were swapped",
    ),
    "a cell too low": (
        planted("voxel_pool", arguments=lambda call: call._replace(voxels=call.voxels - torch.tensor([0, 1, 0]).int())),
        "cells were -1 along y",
    ),
    "the last elements left out": (planted("ms_deform_attn", forward=_one_row_left_out), "indices, bounds and masks"),
    "nothing written": (planted("voxel_pool", forward=_each(torch.zeros_like)), "zero everywhere"),
    "NaN is zero": (planted("voxel_pool_lift", forward=_each(lambda x: x.nan_to_num(0.0))), "NaN"),
    "the other direction": (
        planted("fft", arguments=lambda call: call._replace(inverse=not call.inverse)),
        "the direction were the other",
    ),
    "another norm": (planted("fft", arguments=lambda call: call._replace(norm="backward")), "the norm were backward"),
    "another step's mask": (planted("dropout", arguments=lambda call: call._replace(step=0)), "the step were left out"),
}


@pytest.mark.parametrize("name", MORE)
def test_a_planted_fault_is_a_fault_and_told(cpu: Backend, name: str) -> None:
    kernel, told = MORE[name]
    wrong = [row for row in rows(cpu, kernel.operator, kernel) if row["verdict"] == "fault"]
    assert wrong
    assert any(told in row["look_at"] for row in wrong), [row["look_at"] for row in wrong]


def test_sums_made_in_bfloat16_are_a_fault_in_bfloat16(cpu: Backend) -> None:
    """Half precision is summed in float32: a kernel that adds term by term in it is not what the operator says."""

    def summed(call: Any) -> Tensor:
        right = KERNELS.references["voxel_pool"].forward(call)
        ones = torch.zeros_like(right)
        for _ in range(300):  # as many small terms as it takes to lose what is below
            ones = ones + torch.tensor(1.0 / 256, dtype=torch.bfloat16)
        return right + (ones - 300 / 256)

    row, *_ = rows(cpu, "voxel_pool", Kernel("voxel_pool", "planted", summed), "bfloat16")
    assert row["verdict"] == "fault"


def test_bits_that_vary_are_a_fault_of_a_kernel_that_promises_the_same(cpu: Backend) -> None:
    ulp = torch.finfo(torch.float32).eps

    def jitter(x: Tensor) -> Tensor:
        return x * (1 + ulp * torch.randint(0, 2, x.shape).float())

    row, *_ = rows(cpu, "voxel_pool", planted("voxel_pool", forward=_each(jitter)))
    assert row["verdict"] == "fault" and "second run" in row["faults"][0]
    row, *_ = rows(cpu, "voxel_pool", planted("voxel_pool", forward=_each(jitter), deterministic=False))
    assert row["verdict"] == "rounding" and "second run" in row["notes"][0]


def test_a_kernel_that_takes_every_tensor_for_contiguous_is_a_fault(cpu: Backend) -> None:
    def packed(call: Any) -> Any:
        plain = torch.empty(call.value.shape).stride()
        return call._replace(value=call.value.as_strided(call.value.shape, plain))

    found = rows(cpu, "ms_deform_attn", planted("ms_deform_attn", arguments=packed))
    wrong = [row for row in found if row["verdict"] == "fault"]
    assert [row["case"] for row in wrong] == ["other strides"]
    assert "strides" in wrong[0]["look_at"]


def test_a_kernel_that_takes_a_call_and_raises_is_a_fault_and_one_that_refuses_is_not(cpu: Backend) -> None:
    def raises(call: Any) -> Any:
        raise RuntimeError("no memory")

    row, *_ = rows(cpu, "voxel_pool", Kernel("voxel_pool", "planted", raises))
    assert row["verdict"] == "fault" and "no memory" in row["faults"][0]
    row, *_ = rows(cpu, "voxel_pool", Kernel("voxel_pool", "planted", raises, supports=lambda call: "too many points"))
    assert (row["verdict"], row["reason"]) == ("absent", "too many points")


def test_a_forward_kernel_is_judged_without_gradients(cpu: Backend) -> None:
    forward = KERNELS.references["voxel_pool"].forward
    row, *_ = rows(cpu, "voxel_pool", Kernel("voxel_pool", "planted", forward))
    assert row["verdict"] == "rounding"
    assert not any("gradient" in name for name in row["results"])
    assert "forward alone" in row["notes"][0]


def test_places_on_an_edge_are_judged_by_both_sides(cpu: Backend) -> None:
    """Offsets that are whole numbers put every tap on a pixel's centre; the gradient there is either side's."""
    (subject,) = (s for s in SUBJECTS if s.key == "deform_conv2d|v1|float32")
    call = subject.call._replace(offset=subject.call.offset.round())
    operands = {**subject.operands, "offset": subject.operands["offset"].round()}
    edged = Subject(**{**vars(subject), "call": call, "operands": operands, "case": "on edges"})
    oracle = Oracle.of(edged)
    assert bool(oracle.bands["gradient of offset"].at.all())
    kernel = KERNELS.references["deform_conv2d"]
    row = judged(oracle, Provider("reference", kernel), cpu, ranking(cpu))
    assert row["verdict"] == "rounding"
    figures = row["results"]["gradient of offset"]
    assert figures["at_edges"] == figures["count"]
    wrong = planted("deform_conv2d", backward=lambda out, call: (out[0], out[1] * 3, *out[2:]))
    row = judged(oracle, Provider("planted", wrong), cpu, ranking(cpu))
    assert any("cell's edge" in fault for fault in row["faults"])
