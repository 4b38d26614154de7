"""Which functions of torch the models call: written down during a forward pass at full size and a whole step of a small
one, with losses and optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten

from portbev.bench.models import batches_of, model_of
from portbev.bench.step import training_step
from portbev.config import load_config
from portbev.models import move_batch
from portbev.nn.dropout import set_dropout_step
from portbev.opscheck.calls import TorchCall, name_of, record
from portbev.runtime import activate

META = torch.device("meta")
LEFT_OUT = {
    "Tensor.backward": "the gradients are judged function by function",
    "Tensor.cpu": "copies to the host, which every result does",
    "Tensor.numpy": "leaves torch",
    "Tensor.item": "leaves torch",
    "Tensor.tolist": "leaves torch",
    "Tensor.detach": "computes nothing",
    "Tensor.data_ptr": "computes nothing",
    "Tensor.requires_grad_": "computes nothing",
    "empty": "its values are anything",
    "empty_like": "its values are anything",
    "Tensor.new_empty": "its values are anything",
}
"""Functions of models that are not judged, and why. Nor are those that return no tensor and change none."""


class FunctionTrace(TorchFunctionMode):
    """Inside, calls of torch's functions are written down, each form once: with its largest tensors.

    Args:
        model: whose they are.
        on_meta: the device is "meta"; what touches no tensor there is the host's work and not written down.
    """

    def __init__(self, model: str, *, on_meta: bool) -> None:
        super().__init__()
        self._model, self._on_meta = model, on_meta
        self.forms: dict[str, TorchCall] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        if not _judged(name):
            return func(*args, **kwargs)
        call = record(func, args, kwargs, self._model, on_meta=self._on_meta)
        leaves = tree_flatten((args, kwargs))[0]
        given = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        versions = [tensor._version if not tensor.is_inference() else 0 for tensor in given]
        out = func(*args, **kwargs)
        made = any(isinstance(leaf, Tensor) for leaf in tree_flatten(out)[0])
        devices = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        if self._on_meta:
            devices = [device for device in devices if device == META]
        if not devices and not any(t.is_meta or not self._on_meta for t in given):
            return out
        if made or any(t._version != v for t, v in zip(given, versions, strict=True) if not t.is_inference()):
            form = form_of(call)
            if form not in self.forms or work(call) > work(self.forms[form]):
                self.forms[form] = call
        return out


def _judged(name: str) -> bool:
    return not (name.endswith(("__get__", "__set__")) or name in LEFT_OUT or name.startswith(("portbev.", "profiler.")))


def form_of(call: TorchCall) -> str:
    """What calls of one form have in common: how many axes and what dtypes their tensors have, the sizes of a kernel,
    and what else is asked of a function of ``torch.nn.functional``."""
    kernel = "conv" in call.name or "pool" in call.name
    tensors = [
        (spec.label, spec.dtype, len(spec.shape), spec.trained, spec.shape[2:] if kernel and i == 1 else ())
        for i, spec in enumerate(call.specs)
    ]
    exact = not call.name.startswith("Tensor.") and not call.name.startswith("_foreach")
    leaves = tree_flatten((call.args, call.kwargs))[0]
    rest: list[Any] = [value if exact and isinstance(value, (bool, str)) else type(value).__name__ for value in leaves]
    if kernel:
        rest = [value if isinstance(value, int) else type(value).__name__ for value in leaves]
    lists = len(tensors) > 4 and tensors[0][0].endswith("]")
    return repr((call.name, sorted({(one[1], one[2]) for one in tensors}, key=str) if lists else (tensors, rest)))


def work(call: TorchCall) -> float:
    """Grows with all the tensors of a call."""
    return sum(math.log1p(math.prod(spec.shape)) for spec in call.specs)


def traced_calls(configs: Iterable[str], quick: Iterable[str]) -> list[TorchCall]:
    """Calls of every form, by name of the function.

    Args:
        configs: whose forward pass is traced at its full size, on tensors without values.
        quick: of which a whole training step is taken, on the host, with losses and the optimizer; of these calls those
            are taken whose function no forward pass calls, and those in a form that none has.
    """
    found: dict[str, TorchCall] = {}
    for name in configs:
        _add(found, _forward(name))
    for name in quick:
        _add(found, _step(name), larger=False)
    return sorted(found.values(), key=lambda call: call.name)


def _add(found: dict[str, TorchCall], more: Mapping[str, TorchCall], *, larger: bool = True) -> None:
    for form, call in more.items():
        if form not in found or (larger and work(call) > work(found[form])):
            found[form] = call


def _forward(name: str) -> dict[str, TorchCall]:
    config = load_config(name)
    model = model_of(config)
    model.to(META).train()
    set_dropout_step(model, 0)
    batch = batches_of(config, "train")[0]
    with FunctionTrace(name, on_meta=True) as trace:
        model(move_batch(batch, META))
    return trace.forms


def _step(name: str) -> dict[str, TorchCall]:
    config = load_config(name)
    step = training_step(activate("cpu"), config)
    batch = batches_of(config, "train")[0]
    with FunctionTrace(name, on_meta=False) as trace:
        step(batch)
    return trace.forms
