"""Variables that somebody has left in the environment."""

from __future__ import annotations

from collections.abc import Iterable

from portbev.doctor.findings import Check, Seen
from portbev.doctor.machine import Machine

_LAUNCHED_BY = ("TORCHELASTIC_RUN_ID", "SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_BLOCKING = ("CUDA_LAUNCH_BLOCKING", "HIP_LAUNCH_BLOCKING", "ASCEND_LAUNCH_BLOCKING", "AMD_SERIALIZE_KERNEL")
_NETWORK = ("NCCL_SOCKET_IFNAME", "GLOO_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME")


def launcher(machine: Machine) -> Iterable[Seen]:
    """RANK and WORLD_SIZE without whoever sets them."""
    environment = machine.environment
    left = [name for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK") if environment.get(name)]
    if left and not any(name in environment for name in _LAUNCHED_BY):
        where = ", ".join(f"{name}={environment[name]}" for name in left)
        yield Seen("launcher-leftovers", where)


def blocking(machine: Machine) -> Iterable[Seen]:
    """Kernels one at a time."""
    on = [name for name in _BLOCKING if machine.environment.get(name, "0") not in ("", "0")]
    if on:
        where = ", ".join(f"{name}={machine.environment[name]}" for name in on)
        yield Seen("blocking-launches", where, cure=f"unset {' '.join(on)}")


def interpreted(machine: Machine) -> Iterable[Seen]:
    """Triton's interpreter."""
    if machine.environment.get("TRITON_INTERPRET") == "1":
        yield Seen("interpreted-kernels", "TRITON_INTERPRET=1")


def network(machine: Machine) -> Iterable[Seen]:
    """Network interfaces that are named and are not there. ``^`` excludes, ``=`` is exact, else a beginning counts."""
    there = machine.names("/sys/class/net")
    for variable in _NETWORK:
        value = machine.environment.get(variable, "")
        if not value or value.startswith("^") or not there:
            continue
        wanted = [name.split(":")[0] for name in value.lstrip("=").split(",") if name]
        if not any(name.startswith(one) for one in wanted for name in there):
            what = f"{variable} names {value}; this machine has {', '.join(there)}"
            yield Seen("network-name", f"{variable}={value}", what, f"unset {variable}")


CHECKS: tuple[Check, ...] = (launcher, blocking, interpreted, network)
