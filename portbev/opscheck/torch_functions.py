"""Functions of torch that models call, as subjects."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from portbev.opscheck.calls import TorchCall
from portbev.opscheck.fill import fill
from portbev.opscheck.rounding import unit
from portbev.opscheck.shrink import shrunk
from portbev.opscheck.subject import Compute, Operands, Subject, doubled

HOST = torch.device("cpu")
HALVED = {"batch_norm": ("input",)}
"""Operands that autocast has in half precision, of functions whose others stay in float32."""
TAKEN_AS_VALUES = ("Tensor.clamp", "clamp", "full", "full_like", "Tensor.new_full")


def torch_subjects(calls: Iterable[TorchCall], dtypes: Iterable[torch.dtype]) -> list[Subject]:
    """A subject for each call, on smaller tensors where it is large, and dtype that it may be in."""
    found = []
    for number, whole in enumerate(calls):
        call = shrunk(whole)
        full = {} if call.shapes == whole.shapes else whole.shapes
        found += [torch_subject(call, dtype, number, full) for dtype in dtypes if _may_be(call, dtype)]
    return found


def torch_subject(call: TorchCall, dtype: torch.dtype, number: int = 0, full: dict[str, Any] | None = None) -> Subject:
    """The call with values, its float32 tensors in ``dtype``."""
    tensors = fill(call, number)
    call = replace(call, changed=call.changes(tensors, HOST))
    labels = _unique([spec.label for spec in call.specs])
    floats, trained = {}, []
    for label, spec, value in zip(labels, call.specs, tensors, strict=True):
        if spec.is_float:
            halved = call.name not in HALVED or spec.label in HALVED[call.name]
            floats[label] = value.to(dtype) if spec.dtype == torch.float32 and halved else value
            trained += [label] if spec.trained else []

    def compute(operands: Operands, device: torch.device, *, double: bool) -> list[Tensor]:
        given = []
        for label, spec, value in zip(labels, call.specs, tensors, strict=True):
            if label in operands:
                one = operands[label]
                given.append(one.cpu() if spec.on_host else one)
            else:
                given.append(value if spec.on_host else value.to(device))
        return (rounded if double else call).run(given, device, double=double)

    def define(operands: Operands) -> list[Tensor]:
        return [_double(result) for result in compute(operands, HOST, double=True)]

    rounded = _rounded(call, dtype)

    def on(device: torch.device) -> Compute:
        return lambda operands: compute(operands, device, double=False)

    own = dtype if any(spec.dtype == torch.float32 for spec in call.specs) else _own(call)
    return Subject(
        call.name,
        f"{call.model} {number}",
        own,
        floats,
        tuple(trained),
        define,
        on,
        call.shapes,
        dict(full or {}),
        unit=unit(own),
    )


def _may_be(call: TorchCall, dtype: torch.dtype) -> bool:
    if call.name.startswith("_foreach"):  # the optimizer's, whose weights and moments are float32
        return dtype == torch.float32
    return dtype == torch.float32 or any(spec.dtype == torch.float32 for spec in call.specs)


def _rounded(call: TorchCall, dtype: torch.dtype) -> TorchCall:
    """The call as its definition makes it: a bound that results take as their value is a number of their dtype."""
    if call.name not in TAKEN_AS_VALUES:
        return call
    args, kwargs = tree_map(lambda v: _finite(v, dtype) if type(v) is float else v, (call.args, call.kwargs))
    return replace(call, args=args, kwargs=kwargs)


def _finite(value: float, dtype: torch.dtype) -> float:
    return float(torch.tensor(value, dtype=torch.float64).to(dtype))


def _own(call: TorchCall) -> torch.dtype:
    """The dtype of a call without float32."""
    return torch.float64 if any(spec.dtype == torch.float64 for spec in call.specs) else torch.float32


def _double(value: Tensor) -> Tensor:
    return next(iter(doubled({"": value}).values())) if value.is_floating_point() or value.is_complex() else value


def _unique(labels: list[str]) -> list[str]:
    return [label if labels.count(label) == 1 else f"{label} {i}" for i, label in enumerate(labels)]
