"""A step on a device at hand, in which chosen modules and the operators that they call are kept whole."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from portbev.parity.dumps.record import Key, Record
from portbev.recording.calls import operator_name
from portbev.recording.recorder import Recorder
from portbev.recording.step import RecordedStep
from portbev.recording.values import tensors_in

_RESULTS = ("output", "draw", "written", "view", "copy")
MOST = 4096
"""Calls that are kept at most."""


@dataclass
class Call:
    """A call of an operator or of a module.

    Attributes:
        key: of its first result's record.
        run: what was called: a function of torch, or the module.
        args, kwargs: copies of the arguments as they were before it; with them its results can be computed again.
        results: tensors, in the order of their records' slots.
        grads: of the loss, by result; where the backward has come to it.
        provider: who served it.
        modes: of a module: what its parts were set to, by name.
    """

    key: Key
    run: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[Tensor]
    grads: dict[int, Tensor] = field(default_factory=dict)
    provider: str = ""
    modes: dict[str, dict[str, Any]] = field(default_factory=dict)


_MODES = ("training", "step", "rank", "rows")
"""Attributes of modules that a call depends on: training or not, and the place of dropout's masks."""


def modes_of(module: nn.Module) -> dict[str, dict[str, Any]]:
    """What ``module`` and its parts are set to now."""
    return {
        name: {
            mode: getattr(part, mode) for mode in _MODES if isinstance(getattr(part, mode, None), (bool, int, tuple))
        }
        for name, part in module.named_modules()
    }


def set_modes(module: nn.Module, modes: dict[str, dict[str, Any]]) -> None:
    """Set them again, in ``module`` or a twin of it."""
    for name, part in module.named_modules():
        for mode, value in modes.get(name, {}).items():
            setattr(part, mode, value)


def captured(step: RecordedStep, modules: Collection[str]) -> list[Call]:
    """Take ``step`` and keep the calls of ``modules`` and of the operators called directly in them, in their order."""
    recorder = _Capturing(set(modules))
    with _module_calls(step.parts.model, recorder, modules):
        step.take(recorder, within=recorder.mode)
    return recorder.calls


class _Nothing:
    """Takes records and forgets them."""

    def add(self, record: Record) -> None: ...

    def add_tensor(self, record: Record, tensor: Tensor) -> str:
        return ""


class _Capturing(Recorder):
    """A recorder that keeps the calls whose results it is told of, with the key that it gives to them."""

    def __init__(self, modules: set[str]) -> None:
        super().__init__(_Nothing(), "hashes")
        self.modules = modules
        self.mode = _Calls(self)
        self.pending: list[Call] = []
        self.calls: list[Call] = []

    def add(
        self,
        module: str,
        operator: str,
        role: str,
        index: int,
        tensor: Tensor | None,
        inputs: Iterable[int] = (),
        *,
        provider: str = "",
        **how: Any,
    ) -> int:
        named = (module, operator, role, index)
        if operator and module in self.modules and index == 0 and role in _RESULTS:
            self._claim(Key(*named, self._calls[named]), tensor, provider)
        return super().add(module, operator, role, index, tensor, inputs, provider=provider, **how)

    def _claim(self, key: Key, tensor: Tensor | None, provider: str) -> None:
        """The call that was made just now is the one that ``key`` names."""
        for call in reversed(self.pending):
            if call.key.operator == key.operator and (tensor is None or any(tensor is one for one in call.results)):
                call.key, call.provider = key, provider
                call.results = [one.detach().clone() for one in call.results]  # later operators may write into them
                if len(self.calls) < MOST:
                    self.calls.append(call)
                break
        self.pending.clear()


class _Calls(TorchFunctionMode):
    """Sees every function that is called, below the recorder's own."""

    def __init__(self, recorder: _Capturing) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        recorder = self._recorder
        if recorder.place not in recorder.modules:
            return func(*args, **kwargs)
        held = kept((args, kwargs))
        result = func(*args, **kwargs)
        results = list(tensors_in(result))
        if results:
            call = Call(Key("", operator_name(func), "", 0, 0), func, held[0], held[1], results)
            follow(call)
            recorder.pending.append(call)
            del recorder.pending[:-8]
        return result


def follow(call: Call) -> None:
    """Keep the gradients of the call's results when the backward comes to them."""
    for index, result in enumerate(call.results):
        if result.requires_grad and torch.is_grad_enabled() and result.grad_fn is not None:
            result.register_hook(lambda grad, index=index: call.grads.__setitem__(index, grad.detach().clone()))


@contextmanager
def _module_calls(model: nn.Module, recorder: _Capturing, modules: Collection[str]) -> Iterator[None]:
    """Inside, the calls of ``modules`` are kept."""
    waiting: dict[str, list[tuple[Any, Any, Any]]] = {name: [] for name in modules}
    numbers = dict.fromkeys(modules, 0)

    def before(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            if recorder.listening:
                with recorder.deaf():
                    waiting[name].append((*kept((args, kwargs)), modes_of(module)))

        return hook

    def after(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            if not recorder.listening or not waiting[name]:
                return
            with recorder.deaf():
                held_args, held_kwargs, modes = waiting[name].pop()
                key = Key(name, "", "output", 0, numbers[name])
                numbers[name] += 1
                call = Call(key, module, held_args, held_kwargs, list(tensors_in(result)), modes=modes)
                follow(call)
                call.results = [one.detach().clone() for one in call.results]
                recorder.calls.append(call)

        return hook

    with ExitStack() as hooks:
        for name, module in model.named_modules():
            if name in waiting:
                hooks.callback(module.register_forward_pre_hook(before(name), with_kwargs=True).remove)
                hooks.callback(module.register_forward_hook(after(name)).remove)
        yield


def kept(value: Any) -> Any:
    """A copy of nested arguments whose tensors nobody changes any more; those that needed a gradient still say so."""
    return mapped(value, lambda x: x.detach().clone().requires_grad_(x.requires_grad and x.is_floating_point()))


def mapped(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Nested lists, tuples, mappings and plain objects with their tensors changed; parameters are tensors too."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(mapped(one, change) for one in value))
    if isinstance(value, (list, tuple)):
        return type(value)(mapped(one, change) for one in value)
    if isinstance(value, dict):
        return {key: mapped(one, change) for key, one in value.items()}
    members = getattr(value, "__dict__", None)
    if members and not isinstance(value, (nn.Module, type)) and any(isinstance(x, Tensor) for x in members.values()):
        changed = copy.copy(value)
        for name, one in members.items():
            object.__setattr__(changed, name, mapped(one, change))
        return changed
    return value
