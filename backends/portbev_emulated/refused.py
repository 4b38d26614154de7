"""What the emulated device refuses: operators that Ascend does not list.

``refused.json`` says where the names come from and by which rule.
"""

from __future__ import annotations

import json
from functools import lru_cache, reduce
from importlib.resources import files
from typing import Any

import torch

# Autograd's key too: torch 2.8 has nothing there for a composite operator with a kernel of the device.
_KEYS = ("PrivateUse1", "AutogradPrivateUse1")


@lru_cache(maxsize=1)
def refused() -> dict[str, str]:
    """``aten`` operator (``name`` or ``name.overload``) -> the API of Ascend's list that decides."""
    book = json.loads(files(__package__).joinpath("refused.json").read_text(encoding="utf-8"))
    return {**book["listed as unsupported"], **book["not listed"]}


def register(library: torch.library.Library) -> None:
    """Give every refused operator a kernel that raises. Composite ones are caught before they decompose."""
    for name, api in refused().items():
        reduce(getattr, name.split("."), torch.ops.aten)  # a name that torch does not have is a mistake here
        for key in _KEYS:
            library.impl(name, _refuse(name, api), key)


def _refuse(name: str, api: str) -> Any:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"aten::{name} on npu: {api} is not listed as supported by Ascend (Atlas A2, PyTorch 2.13)"
        )

    return kernel
