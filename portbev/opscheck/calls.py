"""Calls of torch's functions, without their values: what a model's step calls, to be made again with other values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.overrides import get_testing_overrides, resolve_name
from torch.utils._pytree import tree_flatten, tree_map

MODULES = ("torch.nn.functional.", "torch.")


@dataclass(frozen=True)
class Spec:
    """A tensor of a call.

    Attributes:
        label: the name of the argument, with its place where the argument is a list.
        shape, dtype: of it.
        order: its axes from the outermost in memory to the innermost.
        trained: whether a gradient is taken of it.
        known: its values, where they are whole numbers that came from the host.
        on_host: whether it stays there.
    """

    label: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    order: tuple[int, ...]
    trained: bool
    known: Tensor | None = None
    on_host: bool = False

    @property
    def is_float(self) -> bool:
        """Whether it has float or complex numbers."""
        return self.dtype.is_floating_point or self.dtype.is_complex

    def empty(self, device: str = "meta") -> Tensor:
        """A tensor of this shape, dtype and layout."""
        there = torch.empty([self.shape[axis] for axis in self.order], dtype=self.dtype, device=device)
        return there.permute([self.order.index(axis) for axis in range(len(self.order))])


@dataclass(frozen=True)
class Place:
    """Stands for tensor number ``index`` in the arguments of a call."""

    index: int


@dataclass(frozen=True)
class TorchCall:
    """A call of a function of torch.

    Attributes:
        function: what was called.
        name: for people, see :func:`name_of`.
        args, kwargs: its arguments, with :class:`Place` for tensors.
        specs: the tensors, each once.
        model: the configuration that made it.
        changed: places of arguments that it changes and does not return, see :meth:`changes`.
    """

    function: Callable[..., Any]
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    specs: tuple[Spec, ...]
    model: str
    changed: tuple[int, ...] = ()

    def run(self, tensors: Sequence[Tensor], device: torch.device, *, double: bool = False) -> list[Tensor]:
        """The results, and the arguments :attr:`changed`, which are copies.

        Args:
            tensors: for the places; the caller's stay as they are.
            device: what stands for the device of the model.
            double: whether float64 and complex128 stand for the dtypes that the arguments ask for.
        """
        results, mine = self._run(tensors, device, double)
        return [*results, *(mine[index] for index in self.changed)]

    def changes(self, tensors: Sequence[Tensor], device: torch.device) -> tuple[int, ...]:
        """Places of arguments that the function changes and does not return."""
        results, mine = self._run(tensors, device, double=False)
        returned = {id(result) for result in results}
        return tuple(
            index
            for index, (before, after) in enumerate(zip(tensors, mine, strict=True))
            if id(after) not in returned and not torch.equal(before, after)
        )

    def _run(self, tensors: Sequence[Tensor], device: torch.device, double: bool) -> tuple[list[Tensor], list[Tensor]]:
        """Results, and the copies of the tensors after it."""
        mine = [tensor.clone(memory_format=torch.preserve_format) for tensor in tensors]

        def real(value: Any) -> Any:
            if isinstance(value, Place):
                return mine[value.index]
            if isinstance(value, torch.device) or (isinstance(value, str) and value == "meta"):
                return device
            if isinstance(value, torch.dtype) and double and (value.is_floating_point or value.is_complex):
                return torch.complex128 if value.is_complex else torch.float64
            return value

        args, kwargs = tree_map(real, (self.args, self.kwargs))
        out = tree_flatten(self.function(*args, **kwargs))[0]
        return [leaf for leaf in out if isinstance(leaf, Tensor)], mine

    def with_shapes(self, sizes: Mapping[int, int]) -> TorchCall:
        """Another size for every axis, and every whole number, of a size in ``sizes``."""
        specs = tuple(
            replace(spec, shape=tuple(sizes.get(n, n) for n in spec.shape), known=spec.known if spec.on_host else None)
            for spec in self.specs
        )

        def number(value: Any) -> Any:
            if isinstance(value, slice):
                return slice(*map(number, (value.start, value.stop, value.step)))
            return sizes.get(value, value) if isinstance(value, int) and not isinstance(value, bool) else value

        args, kwargs = tree_map(number, (self.args, self.kwargs))
        return replace(self, args=args, kwargs=kwargs, specs=specs)

    @property
    def shapes(self) -> dict[str, Any]:
        """JSON: shapes by label."""
        return {spec.label: list(spec.shape) for spec in self.specs}


def name_of(function: Callable[..., Any]) -> str:
    """``conv2d``, ``Tensor.add``, ``cat``: torch's name without its module."""
    name = resolve_name(function) or f"torch.{getattr(function, '__name__', repr(function))}"
    for module in MODULES:
        name = name.removeprefix(module)
    return name


def record(
    function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], model: str, *, on_meta: bool
) -> TorchCall:
    """A call as it is about to be made. ``on_meta``: "meta" is the device, and what is elsewhere is the host's."""
    specs: list[Spec] = []
    seen: dict[int, Place] = {}

    def place(value: Any, label: str) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in seen:
                seen[id(value)] = Place(len(specs))
                specs.append(_spec(value, label, on_meta and not value.is_meta))
            return seen[id(value)]
        if type(value) in (list, tuple, torch.Size):
            kind = list if type(value) is list else tuple
            return kind(place(one, f"{label}[{number}]") for number, one in enumerate(value))
        return value

    labels = _labels(function)
    placed = tuple(place(v, labels[i] if i < len(labels) else f"argument {i}") for i, v in enumerate(args))
    named = {name: place(value, name) for name, value in kwargs.items()}
    return TorchCall(function, name_of(function), placed, named, tuple(specs), model)


def _spec(value: Tensor, label: str, host: bool) -> Spec:
    whole = not (value.is_floating_point() or value.is_complex())
    strides = value.stride() if 0 not in value.stride() else torch.empty(value.shape, device="meta").stride()
    order = tuple(sorted(range(value.dim()), key=lambda axis: -strides[axis]))
    known = value.detach().clone() if whole and not value.is_meta and value.numel() <= 1 << 16 else None
    trained = value.requires_grad and torch.is_grad_enabled()
    return Spec(label, tuple(value.shape), value.dtype, order, trained, known, host)


@cache
def _overrides() -> dict[Any, Any]:
    return dict(get_testing_overrides())


def _labels(function: Callable[..., Any]) -> list[str]:
    """Names of a function's arguments."""
    try:
        return list(inspect.signature(_overrides()[function]).parameters)
    except (KeyError, TypeError, ValueError):
        return []
