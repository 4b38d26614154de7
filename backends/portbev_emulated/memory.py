"""Tensors of the emulated device over host memory.

A CPU tensor's DLPack capsule names its device by a number. Relabelled from kDLCPU to kDLExtDev it is imported by torch
as a tensor of the PrivateUse1 device over the same bytes, and back: no copy, and DLPack's deleters keep the memory.
"""

# mypy: disable-error-code="attr-defined"
# (private parts of torch, which have no types)

from __future__ import annotations

import ctypes
from typing import TypeGuard

import torch
from torch import Tensor

DEVICE_TYPE = "npu"
KDL_CPU, KDL_EXT_DEV = 1, 12  # DLDeviceType
CPU_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)


class _DLTensorHead(ctypes.Structure):
    """First fields of DLManagedTensor (unversioned), as far as they are needed."""

    _fields_ = (("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32))


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype = ctypes.c_void_p
_pointer_of.argtypes = [ctypes.py_object, ctypes.c_char_p]


def on_device(value: object) -> TypeGuard[Tensor]:
    """Whether ``value`` is a tensor of the emulated device."""
    return isinstance(value, Tensor) and value.device.type == DEVICE_TYPE


def to_device_alias(tensor: Tensor) -> Tensor:
    """Tensor of the emulated device over the memory of a CPU tensor (strided layout; no gradient history).

    Raises:
        NotImplementedError: sparse and other layouts, which this device does not have.
    """
    if tensor.layout is not torch.strided:
        raise NotImplementedError(f"the emulated npu has strided tensors only, not {tensor.layout}")
    with torch._C._AutoDispatchBelowAutograd():
        return _relabel(_plain(tensor), KDL_EXT_DEV)


def to_host_alias(tensor: Tensor) -> Tensor:
    """CPU tensor over the memory of a tensor of the emulated device."""
    with torch._C._AutoDispatchBelowAutograd():
        return _relabel(tensor, KDL_CPU)


def _relabel(tensor: Tensor, device_type: int) -> Tensor:
    capsule = torch._C._to_dlpack(tensor)
    head = ctypes.cast(_pointer_of(capsule, b"dltensor"), ctypes.POINTER(_DLTensorHead)).contents
    head.device_type, head.device_id = device_type, 0
    alias = torch._C._from_dlpack(capsule)
    if alias.stride() != tensor.stride():  # torch 2.8 exports 1 as the stride of every axis of length 1
        alias = torch.ops.aten.as_strided.default.redispatch(CPU_KEYS, alias, tensor.shape, tensor.stride())
    return alias


def _plain(tensor: Tensor) -> Tensor:
    """Without what DLPack refuses: a gradient, lazy conjugation and negation."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    return tensor.resolve_conj().resolve_neg()
