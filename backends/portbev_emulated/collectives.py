"""The process group ``hccl`` of the emulated device: gloo over the tensors' host memory.

Like HCCL it takes tensors of the npu only; a group made with ``cpu:gloo,npu:hccl`` takes both.
"""

# mypy: disable-error-code="attr-defined, override, call-arg, arg-type, assignment"
# (private parts of torch, which have no types)

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from portbev_emulated.memory import DEVICE_TYPE, on_device, to_host_alias


def register() -> None:
    """Make ``torch.distributed.init_process_group("hccl")`` work, where torch has gloo."""
    if dist.is_available() and dist.is_gloo_available():
        dist.Backend.register_backend("hccl", EmulatedHccl, devices=[DEVICE_TYPE])


class EmulatedHccl(dist.ProcessGroup):
    """Relays every collective to gloo over CPU aliases: results land in the npu tensors' own memory."""

    def __init__(self, store: dist.Store, rank: int, size: int, timeout: timedelta) -> None:
        super().__init__(rank, size)
        self._gloo: Any = dist.ProcessGroupGloo(dist.PrefixStore("hccl", store), rank, size, timeout)
        self._known: str | None = None

    def getBackendName(self) -> str:  # noqa: N802 (torch's name)
        return "hccl"

    def name(self) -> str:
        return "hccl"

    @property
    def _device_types(self) -> list[torch.device]:
        """Where torch puts the bytes of objects that it sends; nowhere before it knows the group.

        torch (2.15) asks while it makes the group, to attach a recorder that wants a backend in C++.
        """
        if self._config() is None:
            return []
        return [torch.device(kind) for kind in (DEVICE_TYPE, *(("cpu",) if self._takes_host() else ()))]

    def setGroupName(self, name: str) -> None:  # noqa: N802
        super()._set_group_name(name)

    def allreduce(self, tensors: Any, opts: Any = None) -> Any:
        if isinstance(tensors, Tensor):
            tensors = [tensors]
        options = opts if isinstance(opts, dist.AllreduceOptions) else dist.AllreduceOptions()
        return self._gloo.allreduce(self._host(tensors), options)

    def allreduce_coalesced(self, tensors: Sequence[Tensor], opts: Any = None) -> Any:
        return self._gloo.allreduce_coalesced(self._host(tensors), opts or dist.AllreduceCoalescedOptions())

    def broadcast(self, tensors: Sequence[Tensor], opts: Any = None) -> Any:
        return self._gloo.broadcast(self._host(tensors), opts or dist.BroadcastOptions())

    def allgather(self, outputs: Sequence[Sequence[Tensor]], inputs: Sequence[Tensor], opts: Any = None) -> Any:
        lists = [self._host(output) for output in outputs]
        return self._gloo.allgather(lists, self._host(inputs), opts or dist.AllgatherOptions())

    def all_gather_single(self, output: Tensor, input: Tensor, opts: Any = None) -> Any:
        (out,), (inp,) = self._host([output]), self._host([input])
        return self._gloo._allgather_base(out.view(-1), inp.view(-1), opts or dist.AllgatherOptions())

    def reduce_scatter_single(self, output: Tensor, input: Tensor, opts: Any = None) -> Any:
        (out,), (inp,) = self._host([output]), self._host([input])
        return self._gloo._reduce_scatter_base(out.view(-1), inp.view(-1), opts or dist.ReduceScatterOptions())

    def all_to_all_single(self, output: Tensor, input: Tensor, out_split: Any, in_split: Any, opts: Any = None) -> Any:
        (out,), (inp,) = self._host([output]), self._host([input])
        return self._gloo.alltoall_base(out, inp, out_split, in_split, opts or dist.AllToAllOptions())

    _allgather_base, _reduce_scatter_base = all_gather_single, reduce_scatter_single  # older names of torch
    alltoall_base = all_to_all_single

    def reduce(self, tensors: Sequence[Tensor], opts: Any = None) -> Any:
        return self._gloo.reduce(self._host(tensors), opts or dist.ReduceOptions())

    def gather(self, outputs: Sequence[Sequence[Tensor]], inputs: Sequence[Tensor], opts: Any = None) -> Any:
        lists = [self._host(output) for output in outputs]
        return self._gloo.gather(lists, self._host(inputs), opts or dist.GatherOptions())

    def scatter(self, outputs: Sequence[Tensor], inputs: Sequence[Sequence[Tensor]], opts: Any = None) -> Any:
        lists = [self._host(one) for one in inputs]
        return self._gloo.scatter(self._host(outputs), lists, opts or dist.ScatterOptions())

    def barrier(self, opts: Any = None) -> Any:
        return self._gloo.barrier(dist.BarrierOptions())

    def send(self, tensors: Sequence[Tensor], dst: int, tag: int = 0) -> Any:
        return self._gloo.send(self._host(tensors), dst, tag)

    def recv(self, tensors: Sequence[Tensor], src: int, tag: int = 0) -> Any:
        return self._gloo.recv(self._host(tensors), src, tag)

    def _host(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [self._alias(tensor) for tensor in tensors]

    def _alias(self, tensor: Tensor) -> Tensor:
        if on_device(tensor):
            return to_host_alias(tensor.detach())
        if not self._takes_host():
            raise RuntimeError(
                f"No backend type associated with device type {tensor.device.type}: hccl takes npu tensors; "
                'initialise with "cpu:gloo,npu:hccl" for both'
            )
        return tensor

    def _takes_host(self) -> bool:
        """Whether the group was made for host tensors too; torch hands all of them to this group then."""
        return "cpu" in (self._config() or "")

    def _config(self) -> str | None:
        """What the group was made with, such as ``cpu:gloo,npu:hccl``; None while torch makes it."""
        if self._known is None and (known := dist.distributed_c10d._world.pg_backend_config.get(self)) is not None:
            self._known = str(known)
        return self._known
