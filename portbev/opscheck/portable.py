"""The operators of :mod:`portbev.ops` as subjects: small calls, and those that models make."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from portbev.bench.cases import Case, shapes_of, trace_model
from portbev.bench.sketches import SKETCHES
from portbev.ops.operator import OPERATORS
from portbev.opscheck import small
from portbev.opscheck.rounding import unit
from portbev.opscheck.smaller import smaller
from portbev.opscheck.subject import Compute, Operands, Subject

HOST = torch.device("cpu")
NAN = float("nan")
STRIDED = "other strides"


def small_subjects(dtypes: Iterable[torch.dtype]) -> list[Subject]:
    """Small calls of every operator, those with a place that is not a number, and those with other strides."""
    plain = [(case.operator, case.name, case.call) for case in small.cases()]
    strided = {operator: (operator, STRIDED, _strided(call)) for operator, _, call in reversed(plain)}
    every = [*plain, *strided.values()]
    every += [(operator, "a place that is not a number", call) for operator, call in _without_place(plain)]
    return [_subject(*one, dtype) for dtype in dtypes for one in every if _worth(one[0], dtype)]


def model_subjects(configs: Iterable[str], dtypes: Iterable[torch.dtype]) -> list[Subject]:
    """The distinct calls of training steps of configurations, on fewer rows where the definition takes long."""
    found: dict[str, tuple[Case, dict[str, Any], set[str]]] = {}
    for name in configs:
        for case in trace_model(name):
            if case.within is None:
                less = smaller(case)
                for part, whole in zip((less, *less.inside()), (case, *case.inside()), strict=True):
                    full = {} if less is case else shapes_of(whole.operator, whole.call)
                    kept = found.setdefault(f"{part.operator} {part.shapes} {part.trained}", (part, full, set()))
                    kept[2].add(name)
    return [
        _subject(part.operator, _told(part, names), part.values(HOST, dtype), dtype, part.trained, full)
        for dtype in dtypes
        for part, full, names in found.values()
        if _worth(part.operator, dtype)
    ]


def _told(case: Case, models: Iterable[str]) -> str:
    """The configurations that make it, and its shapes."""
    return f"{', '.join(sorted(models))}: {' '.join(map(str, case.shapes.values()))}"


def _subject(
    operator: str,
    case: str,
    call: Any,
    dtype: torch.dtype,
    trained: tuple[str, ...] | None = None,
    scaled_from: Mapping[str, Any] | None = None,
) -> Subject:
    halved = SKETCHES[operator].halved if operator in SKETCHES else ()
    floats = {
        name: value.to(dtype) if name in halved and dtype != torch.float64 else value
        for name, value in call._asdict().items()
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())
    }
    compute = OPERATORS[operator]

    def on(device: torch.device) -> Compute:
        there = small.on_device(call, device)
        return lambda operands: compute(there._replace(**operands))

    def define(operands: Operands) -> Any:
        return compute.definition(call._replace(**operands))

    return Subject(
        operator,
        case,
        dtype,
        floats,
        tuple(floats) if trained is None else tuple(name for name in trained if name in floats),
        define,
        on,
        shapes_of(operator, call) if operator in SKETCHES else {},
        dict(scaled_from or {}),
        call,
        unit(torch.float64 if dtype == torch.float64 else torch.float32),  # half precision is computed in float32
        check_non_finite=operator in ("voxel_pool", "voxel_pool_lift", "dropout"),
    )


def _worth(operator: str, dtype: torch.dtype) -> bool:
    """Whether the operator takes that dtype."""
    halved = SKETCHES[operator].halved if operator in SKETCHES else ()
    return dtype in (torch.float32, torch.float64) or bool(halved)


def _strided(call: Any) -> Any:
    """The call whose float tensors have their second axis innermost in memory, as channels-last images have."""
    floats = {
        name: value.movedim(1, -1).contiguous().movedim(-1, 1)
        for name, value in call._asdict().items()
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() > 1
    }
    return call._replace(**floats)


def _without_place(every: list[tuple[str, str, Any]]) -> list[tuple[str, Any]]:
    """A call of each operator that samples, with a NaN and infinities among the places."""
    found: dict[str, Any] = {}
    for operator, _, call in every:
        for name in ("locations", "offsets", "offset"):
            if hasattr(call, name) and operator not in found:
                places = getattr(call, name).clone()
                flat = places.view(-1)
                flat[1], flat[len(flat) // 2], flat[-2] = NAN, float("inf"), -float("inf")
                found[operator] = call._replace(**{name: places})
    return list(found.items())
