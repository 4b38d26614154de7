"""Launches kernels with the settings of the device's architecture, and writes the settings down in the ledger."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache
from importlib.resources import files
from typing import Any

import torch
from torch import Tensor

from portbev.kernels import KERNELS
from portbev_triton import tune

Grid = Callable[[Mapping[str, Any]], tuple[int, ...]]
INTERPRETER = "interpreter"
"""The architecture of tensors on the CPU, which Triton's interpreter takes."""


@lru_cache
def architecture(device: torch.device) -> str:
    """``sm_90``, ``gfx942`` ..., or :data:`INTERPRETER` for the CPU."""
    if device.type == "cpu":
        return INTERPRETER
    if torch.version.hip:
        return str(torch.cuda.get_device_properties(device).gcnArchName).split(":")[0]
    major, minor = torch.cuda.get_device_capability(device)
    return f"sm_{major}{minor}"


def product_precision(device: torch.device) -> str:
    """``input_precision`` of ``tl.dot`` for float32: ``tf32`` where NVIDIA's unit has it and torch's own products may
    use it (``torch.get_float32_matmul_precision``), else ``ieee``."""
    nvidia = architecture(device).startswith("sm_")
    return "tf32" if nvidia and torch.get_float32_matmul_precision() != "highest" else "ieee"


@lru_cache
def settings(kernel: str, architecture: str) -> dict[str, int]:
    """Block sizes (in capitals), ``num_warps`` and ``num_stages`` of ``kernel``, from ``settings.json``.

    ``candidates`` are the values that are tried where that is asked for (:mod:`portbev_triton.tune`).
    What is said of the architecture goes over what is said of its family (``sm``, ``gfx``), and that over ``all``.
    """
    table = _table()[kernel]
    chosen = dict(table["all"])
    for name in (architecture.rstrip("0123456789abcdef_") or architecture, architecture):
        chosen.update(table.get(name, {}))
    return chosen


@lru_cache
def _table() -> dict[str, dict[str, dict[str, Any]]]:
    text = files("portbev_triton").joinpath("settings.json").read_text(encoding="utf-8")
    table: dict[str, dict[str, dict[str, Any]]] = json.loads(text)
    return table


def launch(
    name: str,
    kernel: Any,
    grid: Grid,
    *arguments: Any,
    operator: str,
    like: Tensor,
    accumulates: Sequence[Tensor] = (),
    **constants: Any,
) -> None:
    """Run ``kernel`` once.

    Args:
        name: of the kernel in ``settings.json``.
        kernel: a function of ``triton.jit``.
        grid: from the kernel's constants to the number of programs along each axis; none are launched if one is zero.
        arguments: of the kernel, in order.
        operator: that it is a part of, for the ledger.
        like: a tensor on the device.
        accumulates: arguments that it adds to; where settings are tried, each trial starts from what they held.
        constants: further ``tl.constexpr`` arguments, by name.
    """
    where = architecture(like.device)
    chosen = settings(name, where)
    if 0 in grid({**constants, **chosen}):
        return

    def run(tried: Mapping[str, int]) -> None:
        kernel[grid({**constants, **tried})](*arguments, **constants, **tried)

    with _on(like.device):
        choices = _table()[name].get("candidates")
        if choices and tune.asked():
            before = [tensor.clone() for tensor in accumulates]
            key = tune.key_of(name, constants, arguments)
            tried = tune.candidates(chosen, choices)
            book = tune.tuned(where, _version())
            chosen = book.best(key, tried, lambda tried: tune.device_seconds(lambda: run(tried)))
            for tensor, held in zip(accumulates, before, strict=True):
                tensor.copy_(held)
            note_settings(operator, name, where, {**chosen, "tuned": 1})
        note_settings(operator, name, where, chosen)
        run(chosen)


def note_settings(operator: str, name: str, architecture: str, chosen: Mapping[str, int]) -> None:
    """Keep in the ledger how ``name`` was launched."""
    KERNELS.ledger.settings.setdefault(operator, {}).setdefault(
        name, {"triton": _version(), "architecture": architecture, **chosen}
    )


@lru_cache
def _version() -> str:
    import triton

    return str(triton.__version__)


def _on(device: torch.device) -> AbstractContextManager[object]:
    """Triton launches on the current device."""
    return nullcontext() if device.type == "cpu" else torch.cuda.device(device)
