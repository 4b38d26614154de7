"""What to say when a loss or a gradient is not finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from portbev.errors import PortbevError


class NonFiniteError(PortbevError):
    """Training met NaN or infinity; says the step, the loss terms and the first module whose output has it."""


def describe(
    step: int, terms: Mapping[str, float], tokens: list[str], module: str | None, *, what: str
) -> NonFiniteError:
    """The error for step ``step`` (1-based, the one that was not taken)."""
    listed = ", ".join(f"{name} {value:g}" for name, value in terms.items())
    step_text = f"at step {step}" + (f" ({listed})" if listed else "")
    bad = [name for name, value in terms.items() if not math.isfinite(value)]
    place = f"first in module {module!r}" if module else "every module's output is finite"
    return NonFiniteError(
        f"{what} is not finite {step_text}; {place}; samples {', '.join(tokens)}",
        where=f"loss {bad[0]}" if bad else "training",
        cure="Lower optimizer.lr or optimizer.reference_batch, clip with train.clip_grad_norm, or use compute.amp=bf16",
    )


def first_nonfinite_module(model: nn.Module, forward: Callable[[], Any]) -> str | None:
    """Run ``forward`` again with hooks; qualified name of the first module with a non-finite output.

    A module that got non-finite inputs is not to blame unless it is the outermost: inner modules finish first.
    A parameter that is not finite is named before any output. Buffers are put back as they were.
    """
    for name, parameter in model.named_parameters():
        if not _finite(parameter):
            return f"parameter {name}"
    culprits: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if not culprits and not all(_finite(t) for t in _tensors(output)):
                culprits.append(name or type(module).__name__)

        return hook

    handles = [module.register_forward_hook(watch(name)) for name, module in model.named_modules()]
    kept = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    try:
        with torch.no_grad(), torch.compiler.set_stance("force_eager"):  # compiled parts call no hooks inside
            forward()
    finally:
        for handle in handles:
            handle.remove()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(kept[name])
    return culprits[0] if culprits else None


def all_finite(value: Any) -> bool:
    """Whether every tensor in a nested value is finite."""
    return all(_finite(tensor) for tensor in _tensors(value))


def first_nonfinite_gradient(model: nn.Module) -> str | None:
    """Name of the first parameter whose gradient is not finite."""
    return next((n for n, p in model.named_parameters() if p.grad is not None and not _finite(p.grad)), None)


def _finite(tensor: Tensor) -> bool:
    return not tensor.is_floating_point() or bool(torch.isfinite(tensor.detach()).all().cpu())


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _tensors(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)
