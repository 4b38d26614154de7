"""How the emulated device runs an operator.

Every operator without a kernel of its own comes to :func:`run`: it is called on CPU aliases of its tensors and its
results become tensors of the device. View operators run the CPU's kernel on the tensor itself, so that views share
their base's storage.
"""

# mypy: disable-error-code="attr-defined"
# (private parts of torch, which have no types)

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from portbev_emulated.memory import CPU_KEYS, DEVICE_TYPE, on_device, to_device_alias, to_host_alias

# Indices may live on the host; copies cross devices by definition.
_MIXED_DEVICES = frozenset(
    {"aten::index.Tensor", "aten::index.Tensor_out", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
)

calls: Counter[str] = Counter()
"""How often each operator ran on the device; for assertions in tests."""

observers: list[Callable[[str, tuple[Any, ...], dict[str, Any]], None]] = []
"""Each is told an operator's name and arguments before it runs; see :mod:`portbev_emulated.waits`."""


def count(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Note that an operator runs on the device."""
    calls[name] += 1
    for observer in observers:
        observer(name, args, kwargs)


@dataclass(frozen=True)
class Signature:
    """What matters here of an operator's schema.

    Attributes:
        is_view: some result aliases an argument without being written.
        writes: whether any argument is written in place.
        aliases: for every result the argument that it is, (position, name), or None for a fresh tensor.
        out: names of ``out=`` arguments.
        tensors: positions of arguments that the schema calls tensors.
    """

    is_view: bool
    writes: bool
    aliases: tuple[tuple[int, str] | None, ...]
    out: frozenset[str]
    tensors: tuple[int, ...]


@cache
def signature(op: torch._ops.OpOverload) -> Signature:
    """Read the schema of ``op`` once."""
    arguments, returns = op._schema.arguments, op._schema.returns
    written = [(i, a, a.alias_info) for i, a in enumerate(arguments) if a.alias_info and a.alias_info.is_write]

    def argument_of(result: Any) -> tuple[int, str] | None:
        if result.alias_info is None or not result.alias_info.is_write:
            return None
        same = [(i, a.name) for i, a, info in written if info.before_set & result.alias_info.before_set]
        return same[-1] if same else None

    return Signature(
        is_view=any(r.alias_info is not None and not r.alias_info.is_write for r in returns),
        writes=bool(written),
        aliases=tuple(argument_of(r) for r in returns),
        out=frozenset(a.name for _, a, _ in written if a.kwarg_only),
        tensors=tuple(i for i, a in enumerate(arguments) if isinstance(a.type, torch.TensorType)),
    )


def run(op: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> Any:
    """Boxed fallback of the device: run ``op`` on the CPU over the same memory.

    Raises:
        RuntimeError: host and device tensors mixed, or a generator of another device, as on any accelerator.
    """
    name = op.name()
    count(name, args, kwargs)
    shape = signature(op)
    if shape.is_view:
        return op.redispatch(CPU_KEYS, *args, **kwargs)
    call = _HostCall(name)
    host_args = [call.to_host(value) for value in args]
    host_kwargs = {k: call.to_host(v) for k, v in kwargs.items() if k not in shape.out and k != "pin_memory"}
    outputs = {k: v for k, v in kwargs.items() if k in shape.out}
    fresh = {k: _empty_like(v) for k, v in outputs.items()}
    before = [(device, host, _place(host)) for device, host in call.pairs.values()] if shape.writes else []
    with torch._C._AutoDispatchBelowAutograd():
        result = _callable(op, shape, args)(*host_args, **host_kwargs, **fresh)
        for device, host, place in before:
            if _place(host) != place:  # the operator resized it
                set_place(device, to_device_alias(host))
        for key, value in outputs.items():
            _fill(value, fresh[key])
    return _results(shape, result, args, kwargs)


def _callable(op: torch._ops.OpOverload, shape: Signature, args: tuple[Any, ...]) -> Any:
    """``op``, or all its overloads where a number stands for a tensor: torch wraps ``x % 3`` so on its way here."""
    wrapped = any(isinstance(args[i], (int, float, complex)) for i in shape.tensors if i < len(args))
    return op.overloadpacket if wrapped else op


def set_place(tensor: Tensor, like: Tensor) -> None:
    """Let ``tensor`` take over storage, offset, sizes and strides of ``like``."""
    set_storage(tensor, like.untyped_storage(), like.storage_offset(), like.size(), like.stride())


def set_storage(tensor: Tensor, storage: Any, offset: Any, size: Any, stride: Any) -> None:
    """``Tensor.set_`` by the CPU's kernel, which only rewires pointers."""
    op = torch.ops.aten.set_.source_Storage_storage_offset
    op.redispatch(CPU_KEYS, tensor, storage, offset, size, stride)


class _HostCall:
    """The CPU aliases of one call's tensors; the same tensor twice is the same alias twice."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.pairs: dict[int, tuple[Tensor, Tensor]] = {}

    def to_host(self, value: Any) -> Any:
        """``value`` with tensors and devices of the npu taken to the host."""
        if isinstance(value, Tensor):
            return self._alias(value)
        if isinstance(value, (list, tuple)):
            return [self.to_host(one) for one in value] if value and not isinstance(value[0], int) else value
        if isinstance(value, torch.device):
            return torch.device("cpu") if value.type == DEVICE_TYPE else value
        if isinstance(value, torch.Generator):
            raise RuntimeError(
                f"Expected a {DEVICE_TYPE!r} device type for generator but found {value.device.type!r} ({self.name})"
            )
        return value

    def _alias(self, tensor: Tensor) -> Tensor:
        found = self.pairs.get(id(tensor))
        if found is not None:
            return found[1]
        if on_device(tensor):
            host = to_host_alias(tensor)
            self.pairs[id(tensor)] = (tensor, host)
            return host
        if tensor.dim() > 0 and self.name not in _MIXED_DEVICES:
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"{DEVICE_TYPE}:0 and {tensor.device}! (when checking {self.name})"
            )
        return tensor


def _results(shape: Signature, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def take(value: Any, alias: tuple[int, str] | None) -> Any:
        if alias is None:
            return _to_device(value)
        position, name = alias
        return kwargs[name] if name in kwargs else args[position]

    if not shape.aliases:
        return None
    if len(shape.aliases) == 1:
        return take(result, shape.aliases[0])
    return tuple(take(value, alias) for value, alias in zip(result, shape.aliases, strict=True))


def _to_device(value: Any) -> Any:
    if isinstance(value, Tensor):
        return to_device_alias(value) if value.device.type == "cpu" else value
    if isinstance(value, (list, tuple)):
        return [_to_device(one) for one in value]
    return value


def _place(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.data_ptr(), tensor.shape, tensor.stride()


def _empty_like(value: Any) -> Any:
    if isinstance(value, Tensor):
        return torch.empty(0, dtype=value.dtype)
    return [_empty_like(one) for one in value] if isinstance(value, (list, tuple)) else value


def _fill(outputs: Any, computed: Any) -> None:
    """Put computed host tensors into the ``out=`` tensors of the device, resizing those that do not fit."""
    for device, host in zip(pytree.tree_leaves(outputs), pytree.tree_leaves(computed), strict=True):
        if not isinstance(device, Tensor):
            continue
        if device.shape == host.shape:
            to_host_alias(device).copy_(host)
        else:
            set_place(device, to_device_alias(host))
