"""Tells a recorder which module runs, and what each gives."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from portbev.recording.recorder import Recorder
from portbev.recording.values import tensors_in


@contextmanager
def watched_modules(model: nn.Module, recorder: Recorder, after: str) -> Iterator[None]:
    """Inside, the modules' results are recorded, and operators belong to the innermost module that runs.

    Args:
        after: the recorder's place when the model itself has run.
    """
    watch = _Modules(recorder, after)
    with ExitStack() as hooks:
        for name, module in model.named_modules():
            before = module.register_forward_pre_hook(watch.before(name), with_kwargs=True)
            hooks.callback(before.remove)
            hooks.callback(module.register_forward_hook(watch.after(name)).remove)
        yield


class _Modules:
    def __init__(self, recorder: Recorder, after: str) -> None:
        self._recorder, self._after = recorder, after
        self._running: list[tuple[str, list[int]]] = []  # place before, records of the inputs

    def before(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            recorder = self._recorder
            if not recorder.listening:
                return
            before, recorder.place = recorder.place, name
            with torch._C.DisableTorchFunction():  # what is called here is the recorder's own
                tensors = tensors_in((args, kwargs))
                self._running.append((before, [recorder.source(t, "", index) for index, t in enumerate(tensors)]))

        return hook

    def after(self, name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            recorder = self._recorder
            if not recorder.listening or not self._running:
                return
            before, inputs = self._running.pop()
            with torch._C.DisableTorchFunction():
                for index, tensor in enumerate(tensors_in(result)):
                    self._result(name, index, tensor, inputs)
            recorder.place = before if self._running else self._after

        return hook

    def _result(self, name: str, index: int, tensor: Tensor, inputs: list[int]) -> None:
        recorder = self._recorder
        same = recorder.known.exact(tensor)
        if same is not None:  # an operator's result, or a module's inside
            recorder.add(name, "", "output", index, None, inputs, same=same, consumes=False)
            return
        n = recorder.add(name, "", "output", index, tensor, inputs)
        recorder.known.put(tensor, n)
        recorder.follow(tensor, n, (name, "", index))


_WAYS = frozenset({"inplace", "step", "rank", "rows", "seed", "site"})
"""Attributes that say how or for which draw something is computed, and not what."""


def module_settings(model: nn.Module) -> list[dict[str, Any]]:
    """What the modules of ``model`` are set to: their plain public attributes; modules alike are one entry.

    Returns:
        Dictionaries with ``class`` and ``modules`` (qualified names), and ``settings``: attribute -> value.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, module in model.named_modules():
        settings = {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in sorted(vars(module).items())
            if not key.startswith("_") and key not in _WAYS and _is_plain(value)
        }
        entry = {"class": type(module).__name__, "modules": [], "settings": settings}
        found.setdefault(repr((entry["class"], settings)), entry)["modules"].append(name)
    return list(found.values())


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(one) for one in value)
    return value is None or isinstance(value, (bool, int, float, str))
