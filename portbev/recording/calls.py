"""Tells a recorder of the operators that are called: torch's functions and those of :mod:`portbev.ops`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from portbev.kernels import KERNELS
from portbev.recording.identity import shares_memory
from portbev.recording.recorder import Recorder
from portbev.recording.values import as_text, has_host_values, tensors_in

_SAID = """
    size dim ndimension numel nelement stride storage_offset is_contiguous element_size data_ptr untyped_storage
    is_floating_point is_complex is_signed __len__ __hash__ __repr__ __format__ register_hook requires_grad_ backward
    retain_grad get_device is_same_size result_type can_cast __dir__ _is_view is_set_to has_names is_pinned __set__
"""
_ASKED = frozenset(_SAID.split())
"""Functions that say something of a tensor and not of its content, or compute nothing."""
_READS = frozenset("item tolist numpy __array__ __bool__ __int__ __float__ __index__ __contains__ equal".split())  # noqa: SIM905
_COPIES = frozenset("contiguous clone to type_as pin_memory detach".split())  # noqa: SIM905
_DRAWN = """
    rand randn randint randperm bernoulli bernoulli_ multinomial normal normal_ uniform_ random_ exponential_
    rand_like randn_like randint_like poisson
"""
_DRAWS = frozenset(_DRAWN.split())
_UNSET = frozenset("empty empty_like new_empty empty_strided new_empty_strided".split())  # noqa: SIM905
"""Memory that nobody has written yet: it has no content."""
_MASKS = {("portbev.dropout", 1)}
"""Results of other operators that are drawn."""


class OperatorCalls(TorchFunctionMode):
    """While inside, every function of torch that is called is told to ``recorder``, if that is listening."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self.recorder = recorder

    def __torch_function__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        recorder = self.recorder
        if not recorder.listening:
            return func(*args, **kwargs)
        name = operator_name(func)
        if name in _ASKED:
            return func(*args, **kwargs)
        if name == "__get__" and not isinstance(found := func(*args, **kwargs), Tensor):
            return found
        call = _Call(recorder, name, args, kwargs)
        with recorder.deaf():
            result = func(*args, **kwargs)
        call.tell(result)
        return result


class _Call:
    """A call: made before it, told after it."""

    def __init__(self, recorder: Recorder, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.recorder, self.name = recorder, name
        self._arguments = (args, kwargs)
        self.inputs = list(tensors_in((args, kwargs)))
        self._served = dict(KERNELS.ledger.served) if name.startswith("portbev.") else None
        with recorder.deaf():
            self.sources = [recorder.source(tensor, name, index) for index, tensor in enumerate(self.inputs)]
            self._versions = [tensor._version for tensor in self.inputs]
            if not self.inputs or has_host_values((args, kwargs)):
                self.sources = [*self.sources, *recorder.host_so_far()]

    def tell(self, result: Any) -> None:
        """Record the results, and what was written into."""
        with self.recorder.deaf():
            results = list(tensors_in(result))
            written = [t for t, version in zip(self.inputs, self._versions, strict=True) if t._version != version]
            if not results and not written:
                if self.name in _READS:
                    self.recorder.reads(self.sources)
                return
            text, provider = as_text(self._arguments), _provider(self._served)
            new = [(i, tensor) for i, tensor in enumerate(results) if not any(tensor is one for one in self.inputs)]
            for index, tensor in sorted(new, key=lambda one: not self._is_drawn(one[0])):
                self._result(index, tensor, text, provider, views=not written)
            for index, tensor in enumerate(written):
                self._computed("draw" if self.name in _DRAWS else "written", index, tensor, text, provider)

    def _content(self, tensor: Tensor) -> Tensor:
        """What the call says of ``tensor``: of an assignment to a part, that part. Nobody may have written the rest."""
        if self.name == "__setitem__" and tensor is self.inputs[0]:
            part: Tensor = tensor.detach()[self._arguments[0][1]]
            return part
        return tensor

    def _result(self, index: int, tensor: Tensor, text: str, provider: str, *, views: bool) -> None:
        if self.name in _UNSET or (views and any(shares_memory(one, tensor) for one in self.inputs)):
            self._sketchless("view", index, tensor, f"{text} -> {tuple(tensor.shape)}", None)
        elif self.inputs and self._is_copy(tensor):
            if tensor.device != self.inputs[0].device:
                self.recorder.reads(self.sources[:1])
            self._sketchless("copy", index, tensor, "", self.sources[0])
        else:
            drawn = self._is_drawn(index)
            n = self._computed("draw" if drawn else "output", index, tensor, text, provider)
            if drawn:
                self.sources = [*self.sources, n]  # the other results follow from it

    def _is_copy(self, tensor: Tensor) -> bool:
        """Whether it is the first input once more, elsewhere: ``.cpu()`` and its like are named as the device type."""
        return (self.name in _COPIES or self.name == tensor.device.type) and _alike(self.inputs[0], tensor)

    def _is_drawn(self, index: int) -> bool:
        return self.name in _DRAWS or (self.name, index) in _MASKS

    def _sketchless(self, role: str, index: int, tensor: Tensor, text: str, same: int | None) -> None:
        recorder = self.recorder
        n = recorder.add(recorder.place, self.name, role, index, None, self.sources, same=same, arguments=text)
        if not tensor.requires_grad:
            recorder.cuts(n)
        recorder.known.put(tensor, n, owns=self.name in _UNSET or role == "copy")

    def _computed(self, role: str, index: int, tensor: Tensor, text: str, provider: str) -> int:
        recorder, content = self.recorder, self._content(tensor)
        n = recorder.add(
            recorder.place, self.name, role, index, content, self.sources, arguments=text, provider=provider
        )
        recorder.known.put(tensor, n, whole=content is tensor)
        if tensor.requires_grad:
            recorder.follow(tensor, n, (recorder.place, self.name, index))
        else:
            recorder.cuts(n)
        return n


def operator_name(func: Any) -> str:
    """Name of one of torch's functions: ``conv2d``; ``portbev.dropout`` for an operator of a library."""
    if isinstance(func, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        name = str(func.name() if isinstance(func, torch._ops.OpOverload) else func._qualified_op_name)
        space, _, short = name.partition("::")
        return short.partition(".")[0] if space == "aten" else name.replace("::", ".").removesuffix(".default")
    return str(getattr(func, "__name__", type(func).__name__))


def _alike(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype


def _provider(before: dict[tuple[str, str, str], int] | None) -> str:
    """Who has served the call since the ledger's counts were ``before``; None: it is no operator of ours."""
    if before is None:
        return ""
    grown = [key[2] for key, count in KERNELS.ledger.served.items() if count > before.get(key, 0)]
    return ",".join(dict.fromkeys(grown))
