"""The calls of operators that a training step of a model makes: traced on tensors that have shapes and no values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map_only

from portbev.bench.models import batches_of, model_of
from portbev.bench.sketches import sketch_of, values
from portbev.bench.traffic import Traffic, traffic
from portbev.config import load_config
from portbev.models import move_batch
from portbev.nn.dropout import set_dropout_step
from portbev.ops.operator import OPERATORS
from portbev.ops.tracing import CallTrace

META = torch.device("meta")
SHARE = 0.1
"""Calls that move less than this share of an operator's bytes in a model's step are not measured."""


@dataclass
class Case:
    """A call of an operator as models make it.

    Attributes:
        operator: name in :data:`portbev.ops.operator.OPERATORS`.
        call: the operator's named tuple; its tensors are on ``meta``, or on the host where they belong there.
        trained: fields that a gradient is taken of; empty where a model only computes forward.
        known: field -> values that do not depend on weights, such as cells of a grid.
        models: configuration -> number of such calls in a training step.
        within: the call of another operator that this one is a part of, where that is composed.
    """

    operator: str
    call: Any
    trained: tuple[str, ...]
    known: dict[str, Tensor] = field(default_factory=dict)
    models: dict[str, int] = field(default_factory=dict)
    within: Case | None = None

    def values(self, device: torch.device, dtype: torch.dtype) -> Any:
        """The call with values on ``device``; what can be in half precision is in ``dtype``."""
        if self.within is None:
            return values(self.operator, self.call, self.known, device, dtype)
        outer = self.within.values(device, dtype)
        return sketch_of(self.within.operator).inside(outer)[self.operator]

    def inside(self) -> list[Case]:
        """The calls that a composition of this one consists of."""
        return [
            Case(operator, call, tuple(_floats(call)) if self.trained else (), models=self.models, within=self)
            for operator, call in sketch_of(self.operator).inside(self.call).items()
        ]

    @property
    def shapes(self) -> dict[str, Any]:
        """Shapes of the tensors, and the other arguments that matter for the cost."""
        return shapes_of(self.operator, self.call)

    @property
    def name(self) -> str:
        """For people: the operator, and the shapes of its tensors."""
        shapes = [list(value.shape) for value in self.call if isinstance(value, Tensor) and value.device == META]
        return f"{self.operator} {' '.join('x'.join(map(str, shape)) for shape in shapes[:2])}"

    def traffic(self) -> Traffic:
        """Bytes and FLOPs, see :func:`portbev.bench.traffic.traffic`."""
        return traffic(self.operator, self.call, self.trained)


def shapes_of(operator: str, call: Any) -> dict[str, Any]:
    """JSON values that decide what a call costs."""
    ignored = sketch_of(operator).ignored
    return {
        name: _described(value) for name, value in call._asdict().items() if name not in ignored and value is not None
    }


def _described(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    kind = str(value.dtype).removeprefix("torch.")
    return value.tolist() if value.device != META and value.dim() < 2 else f"{kind}{list(value.shape)}"


def _floats(call: Any) -> list[str]:
    """Fields that have gradients."""
    return [k for k, v in call._asdict().items() if isinstance(v, Tensor) and v.is_floating_point()]


class Trace(CallTrace):
    """Also knows the values of what comes from the host and does not depend on weights, which ``meta`` forgets."""

    def __init__(self) -> None:
        super().__init__()
        self._known: dict[int, tuple[Tensor, Tensor]] = {}  # id -> the tensor itself, which keeps its id, and values

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = super().__torch_dispatch__(func, types, args, kwargs)
        if isinstance(out, Tensor) and out.device == META:
            self._follow(func, args, kwargs or {}, out)
        return out

    def cases(self) -> list[Case]:
        """The forward calls."""
        found = []
        for traced in self.calls:
            tensors = {name: value for name, value in traced.call._asdict().items() if isinstance(value, Tensor)}
            known = {name: self._known[id(value)][1] for name, value in tensors.items() if id(value) in self._known}
            if traced.grad_out is None:
                bare = traced.call._replace(**{name: value.detach() for name, value in tensors.items()})
                found.append(Case(traced.operator, bare, traced.trained, known))
        return found

    def _follow(self, func: Any, args: Any, kwargs: Any, out: Tensor) -> None:
        """Compute ``out`` once more where all that it depends on is known."""
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, Tensor)]
        if not tensors or any(t.device == META and id(t) not in self._known for t in tensors):
            return
        args, kwargs = tree_map_only(Tensor, lambda t: self._known[id(t)][1] if t.device == META else t, (args, kwargs))
        if "device" in kwargs:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        self._known[id(out)] = out, func(*args, **kwargs)


def trace_model(name: str, overrides: Iterable[str] = ()) -> list[Case]:
    """The distinct calls of a training step of a configuration, forward, in the order of their first call."""
    config = load_config(name, overrides)
    model = model_of(config)
    model.to(META).train()
    set_dropout_step(model, 0)
    batch = batches_of(config, "train")[0]
    with Trace() as found:
        model(move_batch(batch, META))
    outer = merge(found.cases(), name)
    return merge([*outer, *(case for one in outer for case in one.inside())], name)


def merge(cases: Iterable[Case], model: str = "") -> list[Case]:
    """Cases of equal cost as one; ``model`` names those that belong to none yet."""
    distinct: dict[str, Case] = {}
    for case in cases:
        calls = case.models or {model: 1}
        kept = distinct.setdefault(f"{case.operator} {case.shapes}", case)
        if kept is not case and len(case.trained) > len(kept.trained):
            kept.trained, kept.known = case.trained, case.known
        counts = {} if kept is case else kept.models
        kept.models = {name: counts.get(name, 0) + calls.get(name, 0) for name in {**counts, **calls}}
    return list(distinct.values())


def find_cases(names: Iterable[str], overrides: Iterable[str] = (), *, share: float = SHARE) -> list[Case]:
    """The cases of several configurations; ``share`` leaves out what moves few of an operator's bytes."""
    overrides = list(overrides)
    found = [case for name in names for case in heavy(trace_model(name, overrides), name, share)]
    order = list(OPERATORS)
    return sorted(merge(found), key=lambda case: order.index(case.operator))


def heavy(cases: list[Case], model: str, share: float) -> list[Case]:
    """Those of a model's cases that move at least ``share`` of the bytes that their operator moves in its step."""
    moved = [case.traffic().forward.bytes * case.models[model] for case in cases]
    totals: dict[str, int] = {}
    for case, size in zip(cases, moved, strict=True):
        totals[case.operator] = totals.get(case.operator, 0) + size
    return [case for case, size in zip(cases, moved, strict=True) if size >= share * totals[case.operator]]
