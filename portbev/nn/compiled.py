"""Compiles the parts of a model that it names, in place: modules, keys and values of the state stay."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

ATTRIBUTE = "compiled_parts"


def compiled_parts(model: nn.Module) -> list[str]:
    """Names of the modules that ``model`` wants compiled, in its attribute ``compiled_parts``.

    They are such as torch.compile traces whole, with sizes that stay from step to step, and of classes that are not
    torch's own (which it does not trace from the outside). A name that stands for nothing in this model is left out.
    """
    modules = dict(model.named_modules())
    return [name for name in getattr(model, ATTRIBUTE, ()) if name in modules]


def recomputing(model: nn.Module, names: Sequence[str]) -> list[str]:
    """Those of these modules that compute their activations again in the backward pass, which torch cannot trace."""

    def recomputes(part: nn.Module) -> bool:
        return any(getattr(module, "checkpointing", False) for module in part.modules())

    return [name for name in names if recomputes(model.get_submodule(name))]


def compile_parts(model: nn.Module, names: Sequence[str]) -> None:
    """Let torch.compile trace these modules at their next calls, and no others. Doing it again changes nothing."""
    for name, module in model.named_modules():
        if name in names and module._compiled_call_impl is None:
            module.compile(dynamic=False)
        elif name not in names:
            module._compiled_call_impl = None


def why_not(device: torch.device) -> str | None:
    """Why torch.compile does not work for ``device`` here, found by compiling something; None if it does."""
    try:
        torch.compile(_something, dynamic=False)(torch.ones(8, device=device))
    except Exception as error:
        torch.compiler.reset()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = next((line for line in lines if not line.endswith("raised:")), type(error).__name__)
        return said[:200]
    return None


def _something(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 1
