"""Operators that move bytes or rewire storages, by hand.

They cannot go through the fallback: a copy has tensors of two devices, the others change the tensor itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from portbev_emulated.execute import calls, count, run, set_place, set_storage
from portbev_emulated.memory import on_device, to_device_alias, to_host_alias

# Composite operators whose decomposition ends in a stub that only a device's C++ extension fills.
_DIRECT = ("convolution", "convolution_backward", "native_layer_norm", "native_group_norm")


def register(library: torch.library.Library) -> None:
    """Register the device's own kernels of ``aten``."""
    for name, kernel in {
        "copy_": _copy,
        "resize_": _resize,
        "set_.source_Tensor": _set_tensor,
        "set_.source_Storage": _set_whole_storage,
        "set_.source_Storage_storage_offset": _set_storage,
        "is_set_to": _is_set_to,
        "record_stream": _record_stream,
    }.items():
        library.impl(name, kernel, "PrivateUse1")
    for name in _DIRECT:
        library.impl(name, _through_fallback(getattr(torch.ops.aten, name).default), "PrivateUse1")


def _through_fallback(op: torch._ops.OpOverload) -> Any:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        return run(op, *args, **kwargs)

    return kernel


def _host(tensor: Tensor) -> Tensor:
    return to_host_alias(tensor) if on_device(tensor) else tensor


def _copy(self: Tensor, src: Tensor, non_blocking: bool = False) -> Tensor:
    count("aten::copy_", (self, src, non_blocking), {})
    with torch._C._AutoDispatchBelowAutograd():
        _host(self).copy_(_host(src))
    return self


def _resize(self: Tensor, size: Sequence[int], *, memory_format: Any = None) -> Tensor:
    calls["aten::resize_"] += 1
    if tuple(self.shape) == tuple(size):
        return self
    with torch._C._AutoDispatchBelowAutograd():
        fresh = torch.empty(tuple(size), dtype=self.dtype)
        kept = min(fresh.numel(), self.numel())
        if kept:
            fresh.view(-1)[:kept].copy_(to_host_alias(self).reshape(-1)[:kept])
        set_place(self, to_device_alias(fresh))
    return self


def _set_tensor(self: Tensor, source: Tensor) -> Tensor:
    set_place(self, source)
    return self


def _set_whole_storage(self: Tensor, source: Any) -> Tensor:
    set_storage(self, source, 0, [source.nbytes() // self.element_size()], [1])
    return self


def _set_storage(self: Tensor, source: Any, offset: int, size: Sequence[int], stride: Sequence[int] = ()) -> Tensor:
    set_storage(self, source, offset, size, stride)
    return self


def _is_set_to(self: Tensor, tensor: Tensor) -> bool:
    return self.data_ptr() == tensor.data_ptr() and self.shape == tensor.shape and self.stride() == tensor.stride()


def _record_stream(self: Tensor, s: Any) -> None:
    """The device has one stream: nothing to remember."""
