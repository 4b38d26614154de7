"""What a model computes and moves, module by module: counted on tensors without values, so that nothing is run.

FLOPs: a multiplication and an addition are one each. Products of matrices and convolutions are counted by torch's own
formulas (:mod:`torch.utils.flop_counter`), Fourier transforms by 5 n log2 n, the operators of :mod:`portbev.ops` by
:mod:`portbev.bench.sketches`. What only passes over its values (additions, activations, normalisations, resizing) has
no FLOPs here, but moves bytes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from portbev.bench.models import Part, batches_of, model_of
from portbev.bench.sketches import sketch_of
from portbev.bench.step import void
from portbev.bench.traffic import size
from portbev.config import RunConfig
from portbev.models import Batch, move_batch
from portbev.nn.dropout import set_dropout_step
from portbev.ops.operator import OPERATORS, BackwardOperator

META = torch.device("meta")
_BACKWARD = "_backward"


@dataclass
class Amount:
    """Of a module and all within it, for one batch.

    Attributes:
        flops: multiplications and additions.
        bytes: that its operators read and write, each by itself: the least without fusing any two.
        activations: numbers that the counted operators put out.
    """

    flops: int = 0
    bytes: int = 0
    activations: int = 0

    def add(self, other: Amount) -> None:
        """Add ``other``."""
        self.flops += other.flops
        self.bytes += other.bytes
        self.activations += other.activations


@dataclass
class Complexity:
    """What one batch costs.

    Attributes:
        samples: in the batch.
        modules: path in the model -> its amount forward, in the order of the first call; ``""`` is the whole.
        backward: of the backward pass; None: not asked for.
        parameters: path -> parameters, and those of them that train.
        operators: operator -> calls and FLOPs, of those that have a formula.
        uncounted: operator -> calls, of those that have none.
    """

    samples: int
    modules: dict[str, Amount]
    backward: Amount | None
    parameters: dict[str, tuple[int, int]]
    operators: dict[str, tuple[int, int]] = field(default_factory=dict)
    uncounted: dict[str, int] = field(default_factory=dict)


def complexity(config: RunConfig, part: Part = "eval") -> Complexity:
    """Count a forward pass (``eval``), or a training step's forward and backward pass (``train``), of a model.

    A model with memory has seen the frames before: what is counted is a batch in the middle of a scene. Losses are left
    out: to match predictions with boxes needs values.

    Raises:
        ConfigError: the family offers no batches without data (hook ``portbev_bench_models``).
        PortbevError: an operator of portbev that has no formula.
    """
    batches = batches_of(config, part)
    model = model_of(config)
    prepare = model.preparation(training=part == "train")
    if prepare is not None:  # the loader's workers do it: it is no work of the device
        batches = [cast(Batch, {**batch, "prepared": prepare(batch)}) for batch in batches]
    model.to(META).train(part == "train")
    set_dropout_step(model, 0)
    model.begin_stream()
    with torch.set_grad_enabled(part == "train"):
        for batch in batches[:-1]:
            model(move_batch(batch, META))
        moved = move_batch(batches[-1], META)
        with Counter(model) as counter:
            outputs = model(moved)
        modules = dict(counter.amounts)
        if part == "train":
            counter.amounts = {"": Amount()}
            with counter:
                _sum(outputs).backward()
    backward = counter.amounts[""] if part == "train" else None
    samples = len(batches[-1]["tokens"])
    return Complexity(samples, modules, backward, _parameters(model), counter.operators, counter.uncounted)


class Counter(TorchDispatchMode):
    """While inside, what operators compute and move is added up, for each module of ``model`` that is under way.

    Attributes:
        amounts: path -> amount; ``""`` is the whole.
        operators, uncounted: as in :class:`Complexity`.

    Raises:
        PortbevError: when an operator of portbev is called that has no formula.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.amounts: dict[str, Amount] = {"": Amount()}
        self.operators: dict[str, tuple[int, int]] = {}
        self.uncounted: dict[str, int] = {}
        self._model, self._within = model, [""]
        self._hooks: list[Any] = []

    def __enter__(self) -> Counter:
        for path, module in self._model.named_modules():
            if path:
                self._hooks += [
                    module.register_forward_pre_hook(lambda *_, path=path: self._within.append(path)),
                    module.register_forward_hook(lambda *_: void(self._within.pop()), always_call=True),
                ]
        super().__enter__()
        return self

    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._within = [], [""]

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if not func.is_view and "empty" not in func.name():  # which neither reads nor writes
            self._note(func, args, kwargs or {}, out)
        return out

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> None:
        flops = flops_of(func, args, kwargs, out)
        name = func.name()
        moved = sum(size(leaf) for leaf in tree_leaves((args, dict(kwargs), out)))
        written = 0
        if flops is None:
            self.uncounted[name] = self.uncounted.get(name, 0) + 1
        else:
            calls, total = self.operators.get(name, (0, 0))
            self.operators[name] = calls + 1, total + flops
            written = sum(leaf.numel() for leaf in tree_leaves(out) if isinstance(leaf, Tensor))
        amount = Amount(flops or 0, moved, written)
        for path in dict.fromkeys(self._within):
            self.amounts.setdefault(path, Amount()).add(amount)


def flops_of(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: Any) -> int | None:
    """FLOPs of an operator's call; None: it has no formula, and is not one of ours.

    Raises:
        PortbevError: an operator of portbev that has no formula.
    """
    namespace, _, name = func.name().partition("::")
    if namespace == "portbev":
        return _ours(name.partition(".")[0], args)
    formula: Callable[..., int] | None = flop_registry.get(func.overloadpacket) or _FURTHER.get(func.overloadpacket)
    return None if formula is None else int(formula(*args, **kwargs, out_val=out))


def _ours(name: str, args: tuple[Any, ...]) -> int:
    """Of an operator of :mod:`portbev.ops`, forward or backward."""
    operator = name.removesuffix(_BACKWARD) if name not in OPERATORS else name
    sketch = sketch_of(operator)
    if operator == name:
        return sketch.forward(OPERATORS[name].forward_call(*args))
    op = OPERATORS[operator]
    assert isinstance(op.gradient, BackwardOperator)
    call = op.backward_call(*args)
    idle = {label for label, asked in op.gradient.on_demand.items() if not getattr(call, asked)}
    return sketch.backward(call, tuple(label for label in op.gradient.differentiable if label not in idle))


def _transform(input: Tensor, dim: Sequence[int], *_: Any, out_val: Tensor, **__: Any) -> int:
    """5 n log2 n of a complex Fourier transform along each axis, half of it for real input or output."""
    real = not (input.is_complex() and out_val.is_complex())
    longer = max(input.numel(), out_val.numel())
    wide = max((input, out_val), key=lambda t: t.numel())
    return int((2.5 if real else 5) * longer * sum(math.log2(max(wide.shape[axis], 2)) for axis in dim))


_FURTHER: dict[Any, Callable[..., int]] = dict.fromkeys(
    (torch.ops.aten._fft_c2c, torch.ops.aten._fft_r2c, torch.ops.aten._fft_c2r), _transform
)


def _sum(outputs: Any) -> Tensor:
    """Of all that gradients are taken of, in place of the losses."""
    leaves = [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor) and leaf.requires_grad]
    return torch.stack([leaf.float().sum() for leaf in leaves]).sum()


def _parameters(model: nn.Module) -> dict[str, tuple[int, int]]:
    found = {}
    for path, module in model.named_modules():
        own = list(module.parameters())
        found[path] = sum(p.numel() for p in own), sum(p.numel() for p in own if p.requires_grad)
    return found
