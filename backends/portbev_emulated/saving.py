"""Copies of storages (``deepcopy``, ``torch.load(map_location="npu")``) and pinned host memory."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from portbev_emulated.memory import DEVICE_TYPE, on_device, to_device_alias, to_host_alias


def register(library: torch.library.Library) -> None:
    """Register how storages load onto the device, and that host memory can be pinned for it."""
    torch.serialization.register_package(1, _tag, _load)
    torch.UntypedStorage.clone = _cloning(torch.UntypedStorage.clone)  # type: ignore[method-assign]
    pinned: set[int] = set()

    def pin(self: Tensor, device: Any = None) -> Tensor:
        copy = self.clone()
        address = copy.untyped_storage().data_ptr()
        pinned.add(address)
        weakref.finalize(copy, pinned.discard, address)
        return copy

    def is_pinned(self: Tensor, device: Any = None) -> bool:
        return bool(pinned) and self.untyped_storage().data_ptr() in pinned

    library.impl("_pin_memory", pin, "CPU")
    library.impl("is_pinned", is_pinned, "CPU")


def _tag(storage: Any) -> str | None:
    """Leave tagging to torch, which names the storage's device."""
    return None


def _load(storage: Any, location: str) -> Any:
    """Storage ``storage`` on the device if ``location`` names it, else None for the next package."""
    if str(location).split(":")[0] != DEVICE_TYPE:
        return None
    if storage.device.type == DEVICE_TYPE:
        return storage
    return copied(storage if isinstance(storage, torch.UntypedStorage) else storage.untyped())


def copied(storage: torch.UntypedStorage) -> torch.UntypedStorage:
    """A storage of the device with the bytes of ``storage`` (of the host or the device)."""
    held = torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
    return to_device_alias((to_host_alias(held) if on_device(held) else held).clone()).untyped_storage()


def _cloning(plain: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """``UntypedStorage.clone``, which asks the device's C++ allocator: there is none."""

    def clone(self: Any) -> Any:
        return copied(self) if self.device.type == DEVICE_TYPE else plain(self)

    return clone
